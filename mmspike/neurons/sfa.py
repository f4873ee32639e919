"""The stateless integer neuron of SDT v3 (spike firing approximation, arXiv 2411.16061)."""

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.integer import IntegerNeuron
from mmspike.registry import MODELS


@MODELS.register_module()
class SFA(IntegerNeuron):
    """``round(clamp(x, 0, D)) / norm``, ``(T*B, ...)`` to ``(T*B, ...)``.

    It has no memory: every time step is on its own, and ``stateful`` changes nothing.

    Args:
        **kwargs: See :class:`~mmspike.neurons.integer.IntegerNeuron`.
    """

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, None]:
        return functional.integer_fire(x, **self.firing_options), None
