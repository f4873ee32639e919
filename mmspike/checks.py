"""Checks of numbers and tensors that come from outside."""

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor


def check_finite(x: Tensor, name: str) -> None:
    """Raise if ``x`` holds NaN or infinity.

    A NaN would not crash a spiking network: ``NaN >= threshold`` is false, so the neuron falls
    silent for good. The check is skipped where reading a result back is not possible, under
    ``torch.compile`` and CUDA graph capture.

    Raises:
        ValueError: With the number of such values.
    """
    if torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return
    # The sum is finite unless a value is not, or it overflows: look closer only then.
    if not torch.isfinite(x.detach().sum(dtype=torch.float32)):
        bad = int((~torch.isfinite(x)).sum())
        if bad:
            raise ValueError(
                f'the {name} of shape {tuple(x.shape)} holds {bad} NaN or infinite values; check '
                'the data pipeline and the normalisation (a std of 0, for instance)'
            )


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> float:
    """Return ``value`` as a float if it is a finite number within the bounds.

    Numbers of numpy are numbers as well, whatever their precision.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of bounds, infinite or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f'{name} must be a number, got {value!r} ({type(value).__name__})')
    number = float(value)
    if math.isfinite(number) and number > above and at_least <= number <= at_most:
        return number
    wanted = [
        f'{word} {bound:g}'
        for word, bound in (('above', above), ('at least', at_least), ('at most', at_most))
        if math.isfinite(bound)
    ]
    raise ValueError(f'{name} must be {" and ".join(["finite", *wanted])}, got {value!r}')


def check_integer(name: str, value: Any, *, at_least: int) -> int:
    """Return ``value`` as an int if it is an integer, numpy's as well, that is not too small.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is smaller than ``at_least``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f'{name} must be an int, got {value!r} ({type(value).__name__})')
    if value < at_least:
        raise ValueError(f'{name} must be at least {at_least}, got {value}')
    return int(value)
