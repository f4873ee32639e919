"""Options that the binary neurons (IF, LIF, PLIF) share."""

from typing import Any

from mmspike.neurons.base import BaseNeuron, check_number
from mmspike.neurons.surrogate import Surrogate, get_surrogate


class BinaryNeuron(BaseNeuron):
    """A neuron that fires 0 or 1 when its membrane reaches a threshold.

    Args:
        threshold: Firing threshold.
        v_reset: Membrane potential after a spike (hard reset); None subtracts the threshold
            (soft reset).
        detach_reset: Keep the reset out of the backward pass.
        surrogate: Surrogate gradient, see :mod:`mmspike.neurons.surrogate`.
        **kwargs: See :class:`~mmspike.neurons.base.BaseNeuron`.

    Raises:
        TypeError, ValueError: The threshold is not positive, ``v_reset`` not below it, or the
            surrogate unknown.
    """

    spike_value = 1.0

    def __init__(
        self,
        *,
        threshold: float = 1.0,
        v_reset: float | None = 0.0,
        detach_reset: bool = True,
        surrogate: str | dict | Surrogate = 'sigmoid',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.threshold = check_number('threshold', threshold, above=0)
        self.v_reset = None if v_reset is None else check_number('v_reset', v_reset)
        if self.v_reset is not None and self.v_reset >= self.threshold:
            raise ValueError(
                f'v_reset={v_reset} must lie below threshold={threshold}: a neuron that is reset '
                'to its threshold fires for ever'
            )
        self.set_reset_value('v', self.v_reset or 0.0)
        self.reset()
        self.detach_reset = detach_reset
        self.surrogate = get_surrogate(surrogate)

    def describe(self) -> dict[str, str | float | None]:
        return dict(type=type(self).__name__, threshold=self.threshold, v_reset=self.v_reset)

    @property
    def firing_options(self) -> dict[str, Any]:
        """Keyword arguments that every binary neuron's functional form takes."""
        return dict(
            threshold=self.threshold,
            v_reset=self.v_reset,
            detach_reset=self.detach_reset,
            surrogate=self.surrogate,
            overwrite=self.overwrites_input,
        )
