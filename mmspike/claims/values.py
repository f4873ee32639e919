"""What the numbers of a tensor are: spikes, integers, or real numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor

SILENT, BINARY, INTEGER, SIGNED, REAL = 'silent', 'binary', 'integer', 'signed integer', 'real'
# More levels than an 8-bit integer has are taken for real numbers.
MOST_LEVELS = 256


@dataclass(frozen=True)
class Values:
    """The numbers that a layer was given.

    Attributes:
        kind: ``'silent'`` (zeros only), ``'binary'`` (0 and 1 times ``worth``), ``'integer'`` (0 to
            ``most`` times ``worth``), ``'signed integer'`` or ``'real'``.
        worth: What one spike is worth; 1 of real numbers and of silence.
        most: The largest absolute integer.
    """

    kind: str
    worth: float = 1.0
    most: int = 0

    def __str__(self) -> str:
        if self.kind in (SILENT, REAL):
            return self.kind
        text = f'{-self.most if self.kind == SIGNED else 0}..{self.most}'
        return text if self.worth == 1 else f'{text} times {self.worth:.4g}'

    @property
    def spikes(self) -> bool:
        """Whether a layer needs additions alone for it."""
        return self.kind != REAL


def values_of(x: Tensor) -> Values:
    """Look at the numbers of a tensor."""
    if x.dtype == torch.bool:
        return Values(BINARY, 1.0, 1) if x.any() else Values(SILENT)
    some = x.flatten()[: 8 * MOST_LEVELS]  # of real numbers they tell, and sorting all takes long
    levels = some.unique()
    if len(levels) <= 2 * MOST_LEVELS and len(some) < x.numel():
        levels = x.unique()
    if len(levels) > 2 * MOST_LEVELS or not levels.isfinite().all():
        return Values(REAL)
    sizes = levels[levels != 0].abs().double()
    if not len(sizes):
        return Values(SILENT)
    worth = sizes.min().item()
    integers = (sizes / worth).round()
    rounding = 1e-12 if x.dtype == torch.float64 else 1e-5 if x.dtype == torch.float32 else 1e-2
    most = int(integers.max())
    if most >= MOST_LEVELS or ((sizes / worth - integers).abs() > rounding * integers).any():
        return Values(REAL)
    if (levels < 0).any():
        return Values(SIGNED, worth, most)
    return Values(BINARY if most == 1 else INTEGER, worth, most)


def joined(one: Values | None, other: Values) -> Values:
    """What a layer takes that was given both."""
    if one is None or one.kind == SILENT:
        return other
    if other.kind == SILENT:
        return one
    if REAL in (one.kind, other.kind):
        return Values(REAL)
    worth = min(one.worth, other.worth)
    ratio = max(one.worth, other.worth) / worth
    if abs(ratio - round(ratio)) > 1e-4 * ratio:
        return Values(REAL)
    most = max(round(v.most * v.worth / worth) for v in (one, other))
    if most >= MOST_LEVELS:
        return Values(REAL)
    if SIGNED in (one.kind, other.kind):
        return Values(SIGNED, worth, most)
    return Values(BINARY if most == 1 else INTEGER, worth, most)
