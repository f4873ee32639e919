"""Surrogate gradients: the step function forward, a smooth bump backward.

With ``u = v - threshold`` and a width parameter ``alpha``, the derivatives are

============  ==================================================  =============
name          derivative                                          default alpha
============  ==================================================  =============
sigmoid       ``alpha * s * (1 - s)``, ``s = sigmoid(alpha*u)``   4
atan          ``alpha / 2 / (1 + (pi/2 * alpha * u)**2)``         2
rectangular   ``alpha`` where ``abs(u) < 1 / (2*alpha)``          1
triangular    ``max(alpha - alpha**2 * abs(u), 0)``               1
============  ==================================================  =============

All integrate to one. Sigmoid with ``alpha=4`` is what SDT v1 and v2 were trained with
(BICLab/Spike-Driven-Transformer, spikingjelly's default).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


def _sigmoid(u: Tensor, alpha: float) -> Tensor:
    s = torch.sigmoid(alpha * u)
    return alpha * s * (1 - s)


def _atan(u: Tensor, alpha: float) -> Tensor:
    return alpha / 2 / (1 + (math.pi / 2 * alpha * u) ** 2)


def _rectangular(u: Tensor, alpha: float) -> Tensor:
    return alpha * (u.abs() < 1 / (2 * alpha)).to(u)


def _triangular(u: Tensor, alpha: float) -> Tensor:
    height = alpha - alpha**2 * u.abs()
    return torch.where(height > 0, height, 0)


# name -> (derivative, default alpha)
DERIVATIVES: dict[str, tuple[Callable[[Tensor, float], Tensor], float]] = {
    'sigmoid': (_sigmoid, 4.0),
    'atan': (_atan, 2.0),
    'rectangular': (_rectangular, 1.0),
    'triangular': (_triangular, 1.0),
}


@dataclass(frozen=True)
class Surrogate:
    """A surrogate gradient: its name, a key of :data:`DERIVATIVES`, and its width ``alpha``."""

    name: str
    alpha: float
    # Both as text, which stays constant where torch.compile makes numbers symbols.
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'text', f'{self.name} {self.alpha!r}')

    def derivative(self, u: Tensor) -> Tensor:
        """Derivative of the spike with respect to ``u = v - threshold``, of the shape of ``u``."""
        return DERIVATIVES[self.name][0](u, self.alpha)


def get_surrogate(spec: 'str | dict | Surrogate') -> Surrogate:
    """Read a surrogate from a config.

    Args:
        spec: A name (``'atan'``), or a dict with a width (``dict(type='atan', alpha=3.0)``).

    Raises:
        ValueError: The name or a key is unknown, or alpha is not positive and finite.
    """
    if isinstance(spec, Surrogate):
        return spec
    options = dict(spec) if isinstance(spec, dict) else {'type': spec}
    name = options.pop('type', None)
    if name not in DERIVATIVES:
        raise ValueError(f'unknown surrogate {name!r}; known are {", ".join(DERIVATIVES)}')
    alpha = float(options.pop('alpha', DERIVATIVES[name][1]))
    if options:
        raise ValueError(f'surrogate {name!r} takes alpha alone, got also {sorted(options)}')
    if not 0 < alpha < math.inf:
        raise ValueError(f'alpha of surrogate {name!r} must be positive and finite, got {alpha}')
    return Surrogate(name, alpha)


class _Spike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, surrogate: str) -> Tensor:
        return (u >= 0).to(u)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        u, ctx.surrogate = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        name, alpha = ctx.surrogate.split()
        derivative, _ = DERIVATIVES[name]
        return grad * derivative(u, float(alpha)), None


def spike(u: Tensor, surrogate: Surrogate) -> Tensor:
    """1 where ``u >= 0``, else 0, with the gradient of ``surrogate``. Shape and dtype of ``u``."""
    return _Spike.apply(u, surrogate.text)
