"""Options that the integer neurons (SFA, ILIF) share.

An integer ``0..D`` is trained and carried as one number; it stands for as many binary spikes.
"""

from typing import Any

from mmspike.neurons.base import BaseNeuron, check_number
from mmspike.neurons.functional import GRAD_WINDOWS, ROUNDINGS


class IntegerNeuron(BaseNeuron):
    """A neuron that fires an integer from 0 to D.

    Args:
        D: Largest integer; the number of virtual binary steps.
        norm: Divisor of the output; None divides by D, so that outputs lie in [0, 1]. 1 leaves
            integers.
        rounding: ``'half_even'`` (torch.round; SDT v3 base, detection, segmentation) or
            ``'half_up'`` (SDT v3 large). They differ at exact halves only.
        grad_window: The gradient passes at the ends 0 and D as well (``'inclusive'``, SDT v3
            base) or only between them (``'strict'``, SDT v3 large).
        **kwargs: See :class:`~mmspike.neurons.base.BaseNeuron`.

    Raises:
        TypeError: D is not an integer.
        ValueError: D or norm is not positive, or a name is unknown.
    """

    def __init__(
        self,
        *,
        D: int = 4,
        norm: float | None = None,
        rounding: str = 'half_even',
        grad_window: str = 'inclusive',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(D, bool) or not isinstance(D, int):
            raise TypeError(f'D must be an int, got {D!r} ({type(D).__name__})')
        if rounding not in ROUNDINGS:
            raise ValueError(f'rounding must be one of {ROUNDINGS}, got {rounding!r}')
        if grad_window not in GRAD_WINDOWS:
            raise ValueError(f'grad_window must be one of {GRAD_WINDOWS}, got {grad_window!r}')
        check_number('D', D, at_least=1)
        self.D = D
        self.norm = check_number('norm', D if norm is None else norm, above=0)
        self.rounding = rounding
        self.grad_window = grad_window

    @property
    def step_value(self) -> float:
        return 1 / self.norm

    def describe(self) -> dict[str, str | float | None]:
        return dict(type=type(self).__name__, D=self.D, norm=self.norm, rounding=self.rounding)

    @property
    def firing_options(self) -> dict[str, Any]:
        """Keyword arguments that every integer neuron's functional form takes."""
        return dict(D=self.D, norm=self.norm, rounding=self.rounding, grad_window=self.grad_window)
