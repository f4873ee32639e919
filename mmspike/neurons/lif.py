"""The leaky integrate-and-fire neuron.

With rest potential ``r`` (the hard reset's target, 0 with a soft reset) and ``tau`` in time steps::

    v[t] = v[t-1] + (x[t] - (v[t-1] - r)) / tau     decay_input=True
    v[t] = v[t-1] - (v[t-1] - r) / tau + x[t]       decay_input=False

followed by a spike where ``v >= threshold`` and the reset. The defaults are those of SDT v1 and
v2 (BICLab/Spike-Driven-Transformer: tau 2, hard reset to 0, detached, sigmoid surrogate).
"""

from typing import Any

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.base import check_number
from mmspike.neurons.binary import BinaryNeuron
from mmspike.registry import MODELS


@MODELS.register_module()
class LIF(BinaryNeuron):
    """Leaky integrate-and-fire neuron, ``(T*B, ...)`` to spikes 0/1 ``(T*B, ...)``.

    Args:
        tau: Membrane time constant in time steps, at least 1.
        decay_input: Divide the input by ``tau`` as well.
        **kwargs: See :class:`~mmspike.neurons.binary.BinaryNeuron`.

    Raises:
        TypeError, ValueError: ``tau`` is no finite number of at least 1.
    """

    def __init__(self, *, tau: float = 2.0, decay_input: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tau = check_number('tau', tau, at_least=1)
        self.decay_input = decay_input

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return functional.leaky_integrate_and_fire(
            x,
            v,
            tau=self.tau,
            decay_input=self.decay_input,
            keep_state=self.stateful,
            **self.firing_options,
        )

    def describe(self) -> dict[str, str | float | None]:
        return dict(super().describe(), tau=self.tau, decay_input=self.decay_input)
