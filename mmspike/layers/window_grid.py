"""Dividing a map of any size into windows for attention, as in Swin (arXiv 2103.14030)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

# What is added to the scores of tokens that must not see each other.
MASKED = -100.0


@dataclass(frozen=True)
class WindowGrid:
    """The windows of one map.

    Where a side of the map is no longer than the window, the window shrinks to it and is not
    shifted along it. Longer sides are padded to a multiple of the window. Tokens that only the
    shift, or the padding, brings into one window do not see each other.

    Attributes:
        height, width: Size of the map, in tokens.
        window_size: Side of a full window, in tokens.
        shifted: Whether the windows are shifted by half of their side.
    """

    height: int
    width: int
    window_size: int
    shifted: bool = False

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the windows."""
        return min(self.height, self.window_size), min(self.width, self.window_size)

    @property
    def counts(self) -> tuple[int, int]:
        """Number of windows along height and width."""
        rows, columns = self.window
        return -(-self.height // rows), -(-self.width // columns)

    @property
    def shift(self) -> tuple[int, int]:
        """By how many tokens the windows are shifted along height and width."""
        step = self.window_size // 2 if self.shifted else 0
        down, across = (
            step if side > self.window_size else 0 for side in (self.height, self.width)
        )
        return down, across

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of padding."""
        (rows, columns), (down, across) = self.window, self.counts
        return down * rows - self.height, across * columns - self.width

    def partition(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` to windows ``(N, rows, columns, h, w, C)``, padded with zeros."""
        (pad_h, pad_w), (down, across), (h, w) = self.padding, self.counts, self.window
        if pad_h or pad_w:
            x = pad(x, (0, 0, 0, pad_w, 0, pad_h))
        if any(self.shift):
            x = x.roll(tuple(-step for step in self.shift), (1, 2))
        return x.reshape(x.shape[0], down, h, across, w, x.shape[-1]).transpose(2, 3)

    def merge(self, windows: Tensor) -> Tensor:
        """The inverse: ``(N, rows, columns, h, w, C)`` to ``(N, H, W, C)``."""
        (down, across), (h, w) = self.counts, self.window
        x = windows.transpose(2, 3).reshape(
            windows.shape[0], down * h, across * w, windows.shape[-1]
        )
        if any(self.shift):
            x = x.roll(self.shift, (1, 2))
        return x[:, : self.height, : self.width]

    def mask(self, device: torch.device) -> Tensor | None:
        """The mask to add to scores ``(N, windows, heads, h*w, h*w)``; None if it is 0.

        Its shape is ``(windows, 1, h*w, h*w)``.
        """
        if not any(self.shift + self.padding):
            return None
        rows, columns = (
            _regions(*along, device)
            for along in zip((self.height, self.width), self.padding, self.shift, strict=True)
        )
        (down, across), (h, w) = self.counts, self.window
        regions = (3 * rows.unsqueeze(1) + columns).view(down, h, across, w)
        regions = regions.transpose(1, 2).reshape(down * across, 1, h * w)
        return ((regions != regions.transpose(1, 2)) * MASKED).unsqueeze(1)


def _regions(side: int, padding: int, shift: int, device: torch.device) -> Tensor:
    """Where the tokens along a shifted side come from: 0, as they stood; 1, wrapped; 2, padding."""
    places = torch.arange(side + padding, device=device)
    return ((places < shift) + 2 * (places >= side)).roll(-shift)


def relative_positions(window_size: int) -> Tensor:
    """For each pair of tokens of a window, which row of a table of biases is theirs.

    The table has a row for every offset of two tokens, ``(2 * window_size - 1) ** 2``.

    Returns:
        ``(h, w, h, w)`` for a full window; that of a smaller one is a corner of it.
    """
    side = torch.arange(window_size)
    offsets = side.unsqueeze(1) - side + window_size - 1
    return offsets[:, None, :, None] * (2 * window_size - 1) + offsets[None, :, None, :]
