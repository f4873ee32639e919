"""The integrate-and-fire neuron: ``v[t] = v[t-1] + x[t]``, no leak."""

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.binary import BinaryNeuron
from mmspike.registry import MODELS


@MODELS.register_module()
class IF(BinaryNeuron):
    """Integrate-and-fire neuron, ``(T*B, ...)`` to spikes 0/1 ``(T*B, ...)``.

    Args:
        **kwargs: See :class:`~mmspike.neurons.binary.BinaryNeuron`.
    """

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return functional.integrate_and_fire(x, v, keep_state=self.stateful, **self.firing_options)
