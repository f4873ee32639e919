"""The integer leaky integrate-and-fire neuron (I-LIF) of SpikeYOLO (arXiv 2407.20708).

``v[t] = decay * (v[t-1] - s[t-1]) + x[t]``, ``s[t] = round(clamp(v[t], 0, D))``: a soft reset by
the integer that was fired. SpikeYOLO hands on ``s`` itself (``norm=1``, the default here);
``norm=None`` divides by D, which is the normalised I-LIF of Spike2Former (arXiv 2412.14587).
"""

from typing import Any

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.base import check_number
from mmspike.neurons.integer import IntegerNeuron
from mmspike.registry import MODELS


@MODELS.register_module()
class ILIF(IntegerNeuron):
    """Integer LIF neuron, ``(T*B, ...)`` to multiples of ``1 / norm`` ``(T*B, ...)``.

    Args:
        decay: What is left of the membrane after one step, from 0 to 1.
        norm: Divisor of the output; None divides by D.
        detach_reset: Keep the reset out of the backward pass.
        **kwargs: See :class:`~mmspike.neurons.integer.IntegerNeuron`.

    Raises:
        TypeError, ValueError: ``decay`` is no number from 0 to 1.
    """

    def __init__(
        self,
        *,
        decay: float = 0.25,
        norm: float | None = 1.0,
        detach_reset: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(norm=norm, **kwargs)
        self.decay = check_number('decay', decay, at_least=0, at_most=1)
        self.detach_reset = detach_reset

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return functional.integer_leaky_integrate_and_fire(
            x,
            v,
            decay=self.decay,
            detach_reset=self.detach_reset,
            keep_state=self.stateful,
            **self.firing_options,
        )

    def describe(self) -> dict[str, str | float | None]:
        return dict(super().describe(), decay=self.decay)
