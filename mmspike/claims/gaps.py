"""Numbers of two runs that should agree up to rounding."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmspike.claims.traces import Moment

# Sums of another size may be added in another order.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
# The largest share of a layer's spikes that rounding may change.
MOST_TIES = 1e-3


@dataclass(frozen=True)
class Gap:
    """The first module whose outputs differ although its inputs agree.

    Attributes:
        layer: Its name.
        tie: Whether it is a layer of neurons of which few fired otherwise: their membranes lay at
            the threshold, and a rounding decided.
    """

    layer: str
    tie: bool


def gap_between(moment: Moment, one: Tensor, other: Tensor, neurons: set[str]) -> Gap | None:
    """What differs between the tensors of one moment in two runs; None if nothing does."""
    if one.shape != other.shape:
        return Gap(moment.culprit, False)
    apart = far_apart(one, other)
    if not apart.any():
        return None
    fires = moment.done and moment.layer in neurons
    return Gap(moment.culprit, fires and float(apart.double().mean()) <= MOST_TIES)


def far_apart(one: Tensor, other: Tensor) -> Tensor:
    """Where two tensors differ by more than rounding, measured by the largest number."""
    if not one.is_floating_point():
        return one != other
    if not one.numel():
        return torch.zeros_like(one, dtype=torch.bool)
    scale = max(float(one.abs().max()), 1e-30)
    apart = (one - other).abs() > TOLERANCE.get(one.dtype, 1e-2) * scale
    return apart | (one.isnan() != other.isnan())
