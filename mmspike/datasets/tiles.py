"""Large photos cut into tiles that overlap, with the boxes in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """A part of a photo.

    Attributes:
        left, top: Its corner in the photo, in pixels.
        size: Height and width.
    """

    left: int
    top: int
    size: int

    def cut(self, photo: np.ndarray) -> np.ndarray:
        """The tile of a photo ``(H, W, ...)``; zeros beyond its border."""
        part = photo[self.top : self.top + self.size, self.left : self.left + self.size]
        missing = [(0, self.size - length) for length in part.shape[:2]]
        return np.pad(part, [*missing, *[(0, 0)] * (photo.ndim - 2)])

    def boxes(self, boxes: np.ndarray, visible: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes ``(N, 4)`` as the tile shows them, and their numbers.

        Args:
            boxes: ``(x1, y1, x2, y2)`` in pixels of the photo.
            visible: The least share of a box that must lie inside.
        """
        corner = np.array([self.left, self.top] * 2)
        inside = np.clip(boxes - corner, 0, self.size)
        shown = _areas(inside) >= visible * np.maximum(_areas(boxes), 1e-9)
        (kept,) = np.nonzero(shown & (_areas(inside) > 0))
        return inside[kept], kept


def tiles_of(height: int, width: int, size: int, overlap: int) -> Iterator[Tile]:
    """Tiles that cover a photo, row by row; the last ones of a row and column end at the border.

    Args:
        height, width: Of the photo.
        size: Height and width of a tile.
        overlap: Pixels that neighbours share at least.

    Raises:
        ValueError: The overlap is not smaller than the tiles, or negative.
    """
    if not 0 <= overlap < size:
        raise ValueError(f'overlap must be from 0 to below size={size}, got {overlap}')
    for top in _begins(height, size, overlap):
        for left in _begins(width, size, overlap):
            yield Tile(left, top, size)


def _begins(length: int, size: int, overlap: int) -> list[int]:
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [i * (length - size) // (count - 1) for i in range(count)]


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
