"""Nodes without memory that work on every number of a map alone."""

from typing import Any

from torch import Tensor, nn

from mmspike.deploy.nir.numbers import to_tensor


class Scale(nn.Module):
    """``x * scale``, ``(T*B, ...)`` to the same shape.

    Args:
        scale: Array of the shape of one sample, or a number.
    """

    scale: Tensor

    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.register_buffer('scale', to_tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Threshold(nn.Module):
    """1 where ``x >= threshold``, else 0, ``(T*B, ...)`` to the same shape; without a gradient.

    Args:
        threshold: Array of the shape of one sample, or a number.
    """

    threshold: Tensor

    def __init__(self, threshold: Any) -> None:
        super().__init__()
        self.register_buffer('threshold', to_tensor(threshold))

    def forward(self, x: Tensor) -> Tensor:
        return (x >= self.threshold).to(x)
