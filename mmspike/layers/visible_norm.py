"""Batch norms of images whose patches are partly masked (SparK, arXiv 2301.03580).

Masked pre-training of a convolutional stem must not let pixels of visible patches run into masked
ones. A norm stands behind each convolution of the stem; it takes its statistics from the visible
positions and puts out zeros at all others. So the next convolution sees zeros there, neurons do not
fire there, and residual sums stay zero.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor, nn

from mmspike.registry import MODELS

# Each thread has its own.
_visible: ContextVar[Tensor | None] = ContextVar('visible_patches', default=None)


def visible_patches() -> Tensor | None:
    """The patches of the innermost :func:`only_visible`; None outside of all."""
    return _visible.get()


@contextmanager
def only_visible(patches: Tensor | None) -> Iterator[None]:
    """Inside the block, the norms of this module see visible patches only.

    Args:
        patches: ``(B, h, w)`` of bool, True where a patch is visible; None: all are visible.
    """
    before = _visible.set(patches)
    try:
        yield
    finally:
        _visible.reset(before)


class VisibleNorm:
    """Mixin of a batch norm that sees visible positions only, inside :func:`only_visible`."""

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape; H and W are multiples of the patches' h and w."""
        patches = visible_patches()
        if patches is None:
            return super().forward(x)  # type: ignore[misc]
        positions = positions_of(x, patches)
        values = x.movedim(1, -1)[positions]  # (visible positions, C)
        values = super().forward(values[:, :, None, None]).flatten(1)  # type: ignore[misc]
        out = values.new_zeros(x.movedim(1, -1).shape)
        out[positions] = values
        return out.movedim(-1, 1)


def positions_of(x: Tensor, patches: Tensor) -> Tensor:
    """Positions ``(T*B, H, W)`` of a map ``(T*B, C, H, W)`` that lie in patches ``(B, h, w)``."""
    batch, rows, columns = patches.shape
    height, width = x.shape[-2:]
    positions = patches.repeat_interleave(height // rows, 1).repeat_interleave(width // columns, 2)
    return positions.repeat(x.shape[0] // batch, 1, 1)


@MODELS.register_module()
class VisibleBN(VisibleNorm, nn.BatchNorm2d):
    """``BatchNorm2d`` over visible positions."""


@MODELS.register_module()
class VisibleSyncBN(VisibleNorm, nn.SyncBatchNorm):
    """``SyncBatchNorm`` over the visible positions of all processes, each with its own number."""
