"""A neuron without memory: it fires where the current of this step reaches the threshold."""

from typing import Any

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.base import BaseNeuron, check_number
from mmspike.registry import MODELS


@MODELS.register_module()
class Toy(BaseNeuron):
    """``x >= threshold``, ``(T*B, ...)`` to spikes 0/1 ``(T*B, ...)``.

    Args:
        threshold: Firing threshold.
        **kwargs: See :class:`~mmspike.neurons.base.BaseNeuron`.

    Raises:
        TypeError, ValueError: The threshold is no positive number.
    """

    has_memory = False
    spike_value = 1.0

    def __init__(self, *, threshold: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = check_number('threshold', threshold, above=0)

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, None]:
        return functional.toy(x, threshold=self.threshold), None

    def describe(self) -> dict[str, str | float | None]:
        return dict(type=type(self).__name__, threshold=self.threshold)
