"""Training that ends at the first loss that is not finite."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmspike.checks import check_integer
from mmspike.finite import first_bad_weight, first_not_finite
from mmspike.hooks.not_finite import not_finite
from mmspike.modules import unwrapped
from mmspike.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training when a loss is NaN or infinite, before the optimiser takes it.

    The weights are still those of the iteration before. So the batch is run once more, and the
    error names the first layer whose output is not finite, beside iteration, learning rate and the
    last checkpoint with finite weights. Gradients are not looked at: under mixed precision infinite
    ones are ordinary, and the scaler skips such a step.

    Spikes hide NaN: a neuron that gets NaN does not fire, and the loss stays finite. So the weights
    are looked at as well, now and then.

    The GPU does not wait: whether losses are finite is copied while it computes the gradients.

    Args:
        interval: Look at the losses of every n-th iteration.
        weights_interval: Look at the weights after every n-th iteration.

    Raises:
        TypeError, ValueError: An interval is no positive integer.
        NotFiniteError: In training, see above.
    """

    # In front of hooks that log and save.
    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1, weights_interval: int = 100) -> None:
        check_integer('interval', interval, at_least=1)
        check_integer('weights_interval', weights_interval, at_least=1)
        self.interval = interval
        self.weights_interval = weights_interval
        self._handles = ExitStack()
        self._watching = False
        self._call: _Call | None = None
        self._losses: list[_Losses] = []

    def before_train(self, runner: Runner) -> None:
        """Begin to look."""
        self._handles.close()  # of a training that was broken off
        model = unwrapped(runner.model)
        handles = [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self._after_forward),
        ]
        for optimizer in _optimizers(runner):
            step = optimizer.register_step_pre_hook(lambda *_: self._check_losses(runner))
            handles.append(step)
        for handle in handles:
            self._handles.callback(handle.remove)

    def after_train(self, runner: Runner) -> None:
        """Remove all hooks."""
        self._handles.close()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Look at this iteration, if it is one of the n-th."""
        self._watching = self.every_n_train_iters(runner, self.interval)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at an iteration without a step: it gathered gradients, or the scaler skipped it."""
        self._check_losses(runner)
        self._watching, self._call = False, None
        if self.every_n_train_iters(runner, self.weights_interval):
            bad = first_bad_weight(unwrapped(runner.model))
            if bad is not None:
                raise not_finite(runner, f'{bad} of the model is not finite')

    def _before_forward(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        if self._watching:
            self._call = _Call.of(args, kwargs)

    def _after_forward(self, model: nn.Module, args: tuple, output: object) -> None:
        if self._watching and isinstance(output, Mapping):
            losses = _Losses.of(output)
            if losses is not None:
                self._losses.append(losses)

    def _check_losses(self, runner: Runner) -> None:
        losses, self._losses = self._losses, []
        arrived = [one.arrived() for one in losses]
        if all(everywhere for _, everywhere in arrived):
            return
        self._watching = False
        # In all processes, which may talk to each other meanwhile.
        cause = cast(_Call, self._call).cause(unwrapped(runner.model))
        bad = ', '.join(name for names, _ in arrived for name in names)
        raise not_finite(
            runner,
            f'{bad} is not finite; {cause}' if bad else 'a loss of another process is not finite',
        )


def _optimizers(runner: Runner) -> list[torch.optim.Optimizer]:
    wrapper = runner.optim_wrapper
    several = isinstance(wrapper, OptimWrapperDict)  # it is an OptimWrapper, too
    wrappers = list(wrapper.values()) if several else [wrapper]
    return [one.optimizer for one in wrappers]


@dataclass(frozen=True)
class _Losses:
    """Which losses of a batch are finite, on its way from the GPU.

    Attributes:
        names: Names of the losses.
        finite: For each of them whether it is finite, then whether all are in all processes.
        copied: When ``finite`` has arrived; None if it need not be waited for.
    """

    names: list[str]
    finite: Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def of(cls, output: Mapping) -> '_Losses | None':
        # As mmengine adds them up: all whose name says so, tensors or lists of tensors.
        means = {
            name: torch.stack([leaf.detach().float().mean() for leaf in tree_leaves(value)]).sum()
            for name, value in output.items()
            if 'loss' in name
        }
        if not means:
            return None
        finite = torch.stack(list(means.values())).isfinite()
        # One process with NaN spoils the gradients of all: they stop together.
        everywhere = finite.all().float()
        all_reduce(everywhere, 'min')
        finite = torch.cat((finite, everywhere.bool().view(1)))
        if not finite.is_cuda:
            return cls(list(means), finite, None)
        arriving = torch.empty(finite.shape, dtype=torch.bool, pin_memory=True)
        arriving.copy_(finite, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        return cls(list(means), arriving, copied)

    def arrived(self) -> tuple[list[str], bool]:
        """The losses that are not finite; whether all are, in all processes."""
        if self.copied is not None:
            self.copied.synchronize()
        *finite, everywhere = self.finite.tolist()
        return [n for n, good in zip(self.names, finite, strict=True) if not good], everywhere


@dataclass(frozen=True)
class _Call:
    """The arguments of the last call of the model, for repeating it."""

    args: tuple
    kwargs: dict
    device: torch.device
    autocast: dict[str, Any]
    random: Tensor
    random_cuda: Tensor | None

    @classmethod
    def of(cls, args: tuple, kwargs: dict) -> '_Call':
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        device = tensors[0].device if tensors else torch.device('cpu')
        kind = device.type
        autocast = dict(
            device_type=kind,
            enabled=torch.is_autocast_enabled(kind),
            dtype=torch.get_autocast_dtype(kind),
        )
        cuda = torch.cuda.get_rng_state(device) if device.type == 'cuda' else None
        return cls(args, kwargs, device, autocast, torch.get_rng_state(), cuda)

    def cause(self, model: nn.Module) -> str:
        """Say where in ``model`` the first NaN or infinity is."""
        bad = first_not_finite(dict(model.named_parameters()), dict(model.named_parameters()))
        if bad is not None:
            return f'{bad} was not finite before, because a gradient of an earlier step was not'
        batch_is_finite = all(map(_is_finite, tree_leaves((self.args, self.kwargs))))
        names = {module: name for name, module in model.named_modules() if name}
        found: list[str] = []

        def look(module: nn.Module, args: tuple, output: object) -> None:
            if not found and not all(map(_is_finite, tree_leaves(output))):
                found.append(f'{names[module]} ({type(module).__name__})')

        devices = [] if self.random_cuda is None else [self.device]
        with ExitStack() as stack:
            for module in names:
                stack.callback(module.register_forward_hook(look).remove)
            stack.enter_context(torch.random.fork_rng(devices))
            torch.set_rng_state(self.random)
            if self.random_cuda is not None:
                torch.cuda.set_rng_state(self.random_cuda, self.device)
            with torch.no_grad(), torch.autocast(**self.autocast):
                model(*self.args, **self.kwargs)
        # Said only now: the other processes wait for this one where layers talk to each other.
        if not batch_is_finite:
            return 'the batch itself is not finite'
        if found:
            return f'the first layer whose output is not finite is {found[0]}'
        return 'the outputs of all layers are finite, so the cause is the loss itself'


def _is_finite(value: object) -> bool:
    return not (
        isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all()
    )
