"""Running a model that was trained with integers on spikes, with the same weights.

An integer ``n`` from 0 to D stands for n spikes within one time step (SDT v3, arXiv 2411.16061).
Here they become D binary tensors, the slots, or fewer ones of larger weight (see
:mod:`~mmspike.execution.encodings`). A layer with weights is linear: it takes one slot after the
other, its partial sums are multiplied by the slots' weights and added up, and the bias enters once.
A product of an attention is linear in one spike train only while the other stays as it is: the
slots of one side select what is added up of the other side's counts. Taking the slots of both sides
pairwise, i-th with i-th, would lose all other pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.execution.compiled import CompiledError, compiled_parts, is_traced, refuse
from mmspike.execution.encodings import ENCODINGS, get_encoding
from mmspike.execution.replacement import find_replacement, replace
from mmspike.execution.spike_flow import SpikeFlow
from mmspike.execution.spike_train import SpikeTrain, unmarked
from mmspike.modules import unwrapped
from mmspike.wording import some_of

INTEGER = 'integer'
EXECUTIONS = (INTEGER, *ENCODINGS)
_COMPILED = (
    '{}, but spike-driven execution runs every layer several times from Python, so it can be '
    'neither compiled, nor exported, nor traced. Compile or export a model in integer execution '
    "(set_execution(model, 'integer')), which has the same weights and results; run on spikes a "
    'model that was never compiled'
)


class SpikeDriven(SpikeFlow):
    """Inside the block, all layers that take spikes take binary spikes, or ternary ones.

    Where neurons fire binary spikes already (IF, LIF, PLIF), this changes nothing. Results equal
    those of integer execution up to the order of additions. No gradient passes through slots.

    Args:
        model: A model with neurons of mmspike, in evaluation mode.
        encoding: How integers become slots, a name in
            :data:`~mmspike.execution.encodings.ENCODINGS`.

    Raises:
        ValueError: The encoding is unknown.

    Example:
        >>> import torch
        >>> from mmspike.neurons import SFA
        >>> net = torch.nn.Sequential(SFA(D=4), torch.nn.Linear(3, 2)).eval()
        >>> x = torch.tensor([[0.3, 1.2, 9.0]])
        >>> with torch.no_grad(), SpikeDriven(net):
        ...     out = net(x)
        >>> torch.allclose(out, net(x))
        True
    """

    def __init__(self, model: nn.Module, encoding: str = 'spike') -> None:
        super().__init__(model)
        self._encoding = get_encoding(encoding)

    def weight_layer(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        spikes, weight, *rest = args
        rest, kwargs = unmarked(rest), unmarked(kwargs)
        if _is_binary(spikes):
            return func(spikes.plain(), weight, *rest, **kwargs)
        bias = rest[0] if rest else None
        without_bias = (weight, None, *rest[1:])
        return self._total(
            spikes,
            lambda slot: func(slot, *without_bias, **kwargs),
            spikes.spike_value,
            _along_channels(func, bias),
        )

    def product(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        left, right = args
        trains = [side for side in args if isinstance(side, SpikeTrain)]
        if all(map(_is_binary, trains)):
            return func(*unmarked(args), **kwargs)
        worth = 1.0
        for side in trains:
            worth *= side.spike_value
        if isinstance(left, SpikeTrain):
            if isinstance(right, SpikeTrain):
                right = right.counts()
            return self._total(left, lambda slot: func(slot, right, **kwargs), worth)
        return self._total(right, lambda slot: func(left, slot, **kwargs), worth)

    def _total(
        self,
        spikes: SpikeTrain,
        run: Callable[[Tensor], Tensor],
        worth: float,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Sum of the slots' results, by their weights, times ``worth``, plus a bias.

        Half precision is added up in float32, as it is inside of one matrix product.
        """
        parts = map(run, spikes.slots(self._encoding))
        total = next(parts)  # of weight 1
        dtype = total.dtype
        if dtype != torch.float64:
            total = total.float()
        weights = self._encoding.weights(spikes.max_spikes)
        for weight, part in zip(weights[1:], parts, strict=True):
            total.add_(part, alpha=weight)
        if worth != 1:
            total = total * worth
        return (total if bias is None else total + bias).to(dtype)


def _is_binary(spikes: SpikeTrain) -> bool:
    """Whether the values are 0 and 1 as they are."""
    return spikes.max_spikes == 1 and spikes.spike_value == 1


def _along_channels(func: Callable, bias: Tensor | None) -> Tensor | None:
    """A bias in the shape for addition to a layer's output, batched or not."""
    if bias is None or func.__name__ == 'linear':
        return bias
    spatial_dims = int(func.__name__[-2])  # conv2d, conv_transpose2d
    return bias.view(-1, *[1] * spatial_dims)


def set_execution(model: nn.Module, execution: str) -> None:
    """Choose how a model runs in evaluation mode, with the same weights.

    Training is always on integers. The choice belongs to ``model`` and holds for calls of it, by
    ``val_step`` and ``test_step`` as well, not for calls of its parts. It is kept by copies and
    pickles of the model. A shallow copy is refused; the replicas of ``nn.DataParallel``, which are
    shallow copies, would run the original. Spike-driven calls keep no graph for gradients. Several
    threads may call the model at the same time. A model on spikes can be neither compiled nor
    exported.

    Args:
        model: A model with neurons of mmspike. Of wrappers (distributed training, test-time
            augmentation), the model inside is switched.
        execution: ``'integer'``, or what integers become: ``'spike'`` (D binary slots),
            ``'bitwise'`` (binary slots of weight 1, 2, 4, ...) or ``'ternary'`` (the same with
            values -1, 0 and 1).

    Raises:
        ValueError: The name is unknown.
        RuntimeError: The model is a shallow copy of one that runs on spikes.
        CompiledError: The model is to run on spikes, and it or a part of it is compiled.
    """
    if execution not in EXECUTIONS:
        raise ValueError(f'execution must be one of {EXECUTIONS}, got {execution!r}')
    model = unwrapped(model)
    now = get_execution(model)
    if execution == now:
        return
    before = find_replacement(model, _OnSlots(now))
    if execution != INTEGER:
        compiled = compiled_parts(model)
        if compiled:
            raise CompiledError(_COMPILED.format(f'{some_of(compiled)} is compiled'))
        replace(model, _OnSlots(execution))
    if before is not None:
        before.restore()


def get_execution(model: nn.Module) -> str:
    """How a model runs in evaluation mode: one of :data:`EXECUTIONS`."""
    model = unwrapped(model)
    found = (name for name in ENCODINGS if find_replacement(model, _OnSlots(name)) is not None)
    return next(found, INTEGER)


# In the place of forward, and not by hooks before and after: a block is left whatever happens, also
# when it is interrupted.
@dataclass(frozen=True)
class _OnSlots:
    """Runs a model on the slots of an encoding, unless it is in training.

    Raises:
        CompiledError: The call is compiled, exported or traced.
    """

    encoding: str

    def __call__(self, model: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        if is_traced() and not model.training:
            refuse(_COMPILED.format('the model runs on spikes'))
        # A part of a model that is followed already must not be followed twice.
        if model.training or SpikeDriven.is_open_for(model):
            return forward(*args, **kwargs)
        with torch.no_grad(), SpikeDriven(model, self.encoding):
            return unmarked(forward(*args, **kwargs))
