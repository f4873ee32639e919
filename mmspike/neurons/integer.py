"""Options that the integer neurons (SFA, ILIF) share.

An integer ``0..D`` is trained and carried as one number; it stands for as many binary spikes.
"""

from typing import Any

from torch import nn

from mmspike.neurons.base import BaseNeuron, check_number
from mmspike.neurons.functional import GRAD_WINDOWS, ROUNDINGS


def check_largest_integer(D: int, name: str = 'D') -> int:
    """Return ``D`` if it is a positive integer.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is smaller than 1.
    """
    if isinstance(D, bool) or not isinstance(D, int):
        raise TypeError(f'{name} must be an int, got {D!r} ({type(D).__name__})')
    check_number(name, D, at_least=1)
    return D


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
        check_largest_integer(D)
        if rounding not in ROUNDINGS:
            raise ValueError(f'rounding must be one of {ROUNDINGS}, got {rounding!r}')
        if grad_window not in GRAD_WINDOWS:
            raise ValueError(f'grad_window must be one of {GRAD_WINDOWS}, got {grad_window!r}')
        self.D = D
        self.divides_by_D = norm is None
        self.norm = check_number('norm', D if norm is None else norm, above=0)
        self.rounding = rounding
        self.grad_window = grad_window

    @property
    def spike_value(self) -> float:
        return 1 / self.norm

    @property
    def max_spikes(self) -> int:
        return self.D

    def describe(self) -> dict[str, str | float | None]:
        return dict(type=type(self).__name__, D=self.D, norm=self.norm, rounding=self.rounding)

    @property
    def firing_options(self) -> dict[str, Any]:
        """Keyword arguments that every integer neuron's functional form takes."""
        return dict(
            D=self.D,
            norm=self.norm,
            rounding=self.rounding,
            grad_window=self.grad_window,
            overwrite=self.overwrites_input,
        )


def integer_neurons(model: nn.Module) -> list[IntegerNeuron]:
    """The neurons of ``model`` that fire an integer from 0 to D.

    Raises:
        ValueError: There are none.
    """
    found = [module for module in model.modules() if isinstance(module, IntegerNeuron)]
    if not found:
        raise ValueError(
            f'{type(model).__name__} has no integer neurons (SFA, ILIF), so it has no D'
        )
    return found


def set_largest_integer(model: nn.Module, D: int, *, scale_norm: bool = False) -> None:
    """Give every integer neuron of ``model`` another largest integer.

    Args:
        model: A model with integer neurons.
        D: Largest integer.
        scale_norm: Where a neuron was built to divide by D (``norm=None``), divide by the new D. By
            default it keeps its divisor, so that a spike goes on to be worth what the weights
            behind it were trained for.

    Raises:
        TypeError, ValueError: ``D`` is not a positive integer, or the model has no integer neuron.
    """
    check_largest_integer(D)
    for neuron in integer_neurons(model):
        neuron.D = D
        if scale_norm and neuron.divides_by_D:
            neuron.norm = float(D)
