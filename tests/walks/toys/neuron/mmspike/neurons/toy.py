"""A neuron without memory: it fires where the current of this step reaches the threshold."""

from typing import Any

from torch import Tensor

from mmspike.neurons import reference
from mmspike.neurons.binary import BinaryNeuron
from mmspike.registry import MODELS


@MODELS.register_module()
class Toy(BinaryNeuron):
    """``x >= threshold``, ``(T*B, ...)`` to spikes 0/1 ``(T*B, ...)``.

    Args:
        **kwargs: See :class:`~mmspike.neurons.binary.BinaryNeuron`.
    """

    has_memory = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, None]:
        return reference.toy(x, threshold=self.threshold, surrogate=self.surrogate), None
