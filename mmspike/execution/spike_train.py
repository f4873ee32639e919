"""Tensors that are known to hold spikes."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmspike.deprecation import WithOldNames, renamed_attribute
from mmspike.execution.encodings import THERMOMETER, Encoding

_LEAVES = frozenset((Tensor, nn.Parameter, int, float, bool, str, type(None)))
# Run a block unseen by the flow, for its own arithmetic.
without_flow = torch._C.DisableTorchFunction


class SpikeTrain(WithOldNames, Tensor):
    """Spikes of neurons: multiples, from 0 to ``max_spikes``, of ``spike_value``.

    Outside of a :class:`SpikeFlow` it behaves, and computes, like an ordinary tensor.

    Attributes:
        spike_value: What one spike is worth.
        max_spikes: The most that a neuron fires in one time step: 1, or D of integer neurons.
        timesteps: Number of steps T of the neurons.
    """

    spike_value: float
    max_spikes: int
    timesteps: float
    _counted: tuple[int | None, Any]  # what sums_of() counted at which version of the tensor
    step_value = renamed_attribute('step_value', 'spike_value')

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*unmarked(args), **unmarked(kwargs or {}))

    @staticmethod
    def of(x: Tensor, spike_value: float, max_spikes: int, timesteps: float = 1) -> 'SpikeTrain':
        """Mark a tensor."""
        with without_flow():
            train = x.as_subclass(SpikeTrain)
        train.spike_value, train.max_spikes = spike_value, max_spikes
        train.timesteps = timesteps
        return train

    def like(self, x: Tensor) -> 'SpikeTrain':
        """Mark another tensor as holding the same spikes."""
        return SpikeTrain.of(x, self.spike_value, self.max_spikes, self.timesteps)

    def plain(self) -> Tensor:
        """The values, without the mark."""
        with without_flow():
            return self.as_subclass(Tensor)

    def counts(self) -> Tensor:
        """Number of spikes, as floating-point numbers."""
        return torch.round(self.plain() / self.spike_value)

    def slots(self, encoding: Encoding = THERMOMETER) -> Iterator[Tensor]:
        """Tensors of a few values whose sum, by the weights of the encoding, is :meth:`counts`.

        By default these are ``max_spikes`` binary ones of weight 1. The i-th holds a 1 where more
        than i spikes were fired.
        """
        return encoding.slots(self.counts(), self.max_spikes)


def unmarked(value: Any) -> Any:
    """``value``, or its content, without marks."""
    if isinstance(value, SpikeTrain):
        return value.plain()
    # The usual arguments; tree_map takes as long for them as a small layer.
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind is tuple or kind is list:
        return kind([unmarked(x) for x in value])
    if kind is dict:
        return {key: unmarked(x) for key, x in value.items()}
    return tree_map(lambda x: x.plain() if isinstance(x, SpikeTrain) else x, value)


def forget(x: Any) -> None:
    """Remove the mark from a tensor that was changed in place: it no longer holds spikes."""
    if isinstance(x, SpikeTrain):
        x.__class__ = Tensor  # type: ignore[assignment]  # the same tensor without the mark
