"""NaN and infinity in weights."""

from collections.abc import Container, Mapping

import torch
from torch import Tensor, nn


def first_not_finite(weights: Mapping[str, object], parameters: Container[str] = ()) -> str | None:
    """The name of the first tensor that holds NaN; None if there is none.

    Args:
        weights: Name to tensor, as of ``state_dict()``. Whole numbers and other values pass.
        parameters: Names of tensors that must not hold infinity either. Buffers may: attention
            masks do.
    """
    tensors = {
        name: value.detach()
        for name, value in weights.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    if not tensors:
        return None
    bad = [
        (~value.isfinite() if name in parameters else value.isnan()).any()
        for name, value in tensors.items()
    ]
    # One wait for the GPU, not one per tensor.
    flags = torch.stack([flag.to(bad[0].device, non_blocking=True) for flag in bad]).tolist()
    return next((name for name, flag in zip(tensors, flags, strict=True) if flag), None)


def first_bad_weight(model: nn.Module) -> str | None:
    """The first parameter of ``model`` with NaN or infinity, or buffer with NaN; None if none."""
    return first_not_finite(model.state_dict(), dict(model.named_parameters()))
