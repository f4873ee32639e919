"""A model, what it is given, and how it is called."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmspike.temporal import TemporalModule, check_timesteps, set_timesteps

LAYOUTS = ('images', 'frames', 'steps', 'folded')
# Samples are bits of a byte where the numbers that depend on them are marked.
MOST_SAMPLES = 8
# What a model raises that cannot run a batch, a number of steps or a dtype.
CANNOT_RUN = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


def reason(error: BaseException) -> str:
    """What a model raised, in one line."""
    return next(iter(str(error).splitlines()), '') or type(error).__name__


def call(model: nn.Module, inputs: Tensor) -> Any:
    """Call a model with one tensor."""
    return model(inputs)


class Subject:
    """A model in evaluation mode, with inputs for it.

    Every run is that of a fresh copy, so that what a run leaves behind does not matter to the next.

    Args:
        model: The model.
        inputs: A batch of two to eight samples.
        layout: How samples and time stand in ``inputs``: ``'images'`` ``(B, ...)``, ``'frames'``
            ``(B, T, ...)``, ``'steps'`` ``(T, B, ...)`` or ``'folded'`` ``(T*B, ...)``, time-major.
        timesteps: T.
        run: How the model is called.

    Raises:
        TypeError, ValueError: The layout is unknown, or ``inputs`` do not have it, or there is one
            sample, or more than eight; or ``timesteps`` is no positive integer.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        layout: str = 'images',
        timesteps: int = 1,
        run: Callable[[nn.Module, Tensor], Any] = call,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f'layout must be one of {LAYOUTS}, got {layout!r}')
        check_timesteps(timesteps)
        if inputs.dim() < (2 if layout in ('frames', 'steps') else 1):
            raise ValueError(
                f'inputs {tuple(inputs.shape)} have too few dimensions for layout={layout!r}'
            )
        self.model = copied(model)
        self.model.eval()  # which returns nothing in mmpretrain's backbones
        reset_net(self.model)  # of what calls before this one left
        self.inputs = inputs
        self.layout = layout
        self.timesteps = timesteps
        self.run = run
        steps, samples = self._by_step(inputs).shape[:2]
        if layout != 'images' and steps != timesteps:
            raise ValueError(
                f'inputs {tuple(inputs.shape)} hold {steps} time steps where layout={layout!r} has '
                f'them, but timesteps={timesteps}'
            )
        if samples < 2:
            raise ValueError(
                f'inputs {tuple(inputs.shape)} hold one sample (layout={layout!r}); whether '
                'samples are mixed shows with two and more'
            )
        if samples > MOST_SAMPLES:
            raise ValueError(
                f'inputs {tuple(inputs.shape)} hold {samples} samples (layout={layout!r}); give at '
                f'most {MOST_SAMPLES}, each is compared with all others'
            )
        self.samples = samples

    def _by_step(self, inputs: Tensor) -> Tensor:
        """The inputs ``(T, B, ...)``, in the same memory; images have one step."""
        if self.layout == 'images':
            return inputs.unsqueeze(0)
        if self.layout == 'frames':
            return inputs.transpose(0, 1)
        if self.layout == 'steps':
            return inputs
        if len(inputs) % self.timesteps:
            raise ValueError(
                f'inputs {tuple(inputs.shape)} cannot hold timesteps={self.timesteps} steps'
            )
        return inputs.unflatten(0, (self.timesteps, -1))

    @property
    def has_frames(self) -> bool:
        """Whether the inputs may differ from step to step."""
        return self.layout != 'images'

    def fresh(self) -> nn.Module:
        """A copy of the model, as it was given."""
        return copy.deepcopy(self.model)

    def other(self, variant: int, sample: int | None = None, from_step: int = 0) -> Tensor:
        """The inputs with other content.

        Args:
            variant: Another number gives another content.
            sample: Of this sample only; None changes all.
            from_step: From this step on.
        """
        inputs = self.inputs.clone()
        view = self._by_step(inputs)[from_step:]
        if sample is not None:
            view = view[:, sample : sample + 1]
        view.copy_(other_content(view, variant))
        return inputs

    def taken(self, samples: list[int]) -> Tensor:
        """Some samples of the inputs, in this order."""
        return self._in_layout(self._by_step(self.inputs)[:, samples])

    @property
    def temporal(self) -> bool:
        """Whether mmspike can set the number of time steps of the model."""
        return any(
            isinstance(m, TemporalModule) and m._in_time and m.timesteps == self.timesteps
            for m in self.model.modules()
        )

    def with_steps(self, steps: int) -> tuple[nn.Module, Tensor]:
        """A copy of the model and inputs for another number of time steps."""
        model = self.fresh()
        if self.temporal:
            set_timesteps(model, steps)
        return model, self.first_steps(steps)

    def first_steps(self, steps: int) -> Tensor:
        """The first time steps of the inputs; images stay as they are."""
        return self._in_layout(self._by_step(self.inputs)[:steps])

    def _in_layout(self, steps: Tensor) -> Tensor:
        """What :meth:`_by_step` made of inputs, as the model takes them."""
        if self.layout == 'images':
            return steps[0]
        if self.layout == 'frames':
            return steps.transpose(0, 1).contiguous()
        return steps.contiguous() if self.layout == 'steps' else steps.flatten(0, 1)


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model as Python runs it: no compiled parts, and state without its graph."""
    model = getattr(model, '_orig_mod', model)  # of torch.compile
    state = (x for module in model.modules() for x in tree_leaves(vars(module)))
    memo = {id(x): x.detach().clone() for x in state if isinstance(x, Tensor) and not x.is_leaf}
    copied = copy.deepcopy(model, memo)
    for name, module in list(copied.named_modules()):
        if hasattr(module, '_orig_mod'):
            copied.set_submodule(name, module._orig_mod)
    return copied


def other_content(x: Tensor, variant: int) -> Tensor:
    """The numbers of a tensor in another order, and smaller; integers are drawn from those of it.

    Neither their mean nor their largest one is the same.
    """
    generator = torch.Generator().manual_seed(1000 + variant)
    if x.is_floating_point():
        order = torch.randperm(x.numel(), generator=generator).to(x.device)
        mixed = x.flatten()[order].view(x.shape) * 0.75
    else:
        drawn = torch.randint(x.numel(), (x.numel(),), generator=generator).to(x.device)
        mixed = x.flatten()[drawn].view(x.shape)
    if not torch.equal(mixed, x):
        return mixed
    if not x.is_floating_point():
        # Indices stay in their range.
        return ~x if x.dtype == torch.bool else torch.where(x > 0, x - 1, x + 1)
    return x + torch.rand(x.shape, generator=generator).to(x)
