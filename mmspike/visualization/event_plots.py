"""Event frames as pictures: a strip over time, a GIF, and in the terminal."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from PIL import Image
from rich.console import Console, RenderableType
from rich.table import Table

from mmspike.files import atomic_write
from mmspike.visualization.terminal import image_blocks

# Red and blue that stay apart for colour-blind eyes, on a dark ground as most event viewers have.
OFF, ON, GROUND = (
    np.array(rgb, np.float32) for rgb in ((240, 96, 72), (84, 170, 255), (16, 18, 24))
)
# This share of the active pixels may be brighter than the scale has colours.
_CLIPPED = 0.02
_SIDE = 1.5  # of a frame in a strip, in inches


def event_images(frames: np.ndarray) -> np.ndarray:
    """Colours of event frames: blue where it became brighter, red where darker.

    The more events, the brighter the colour; the scale is that of all frames. A pixel with events
    of both polarities gets a mixture.

    Args:
        frames: Counts of events ``(T, 2, H, W)``, OFF and ON; need not be whole numbers.

    Returns:
        ``(T, H, W, 3)``, uint8, RGB.

    Raises:
        ValueError: The shape is another one.
    """
    if frames.ndim != 4 or frames.shape[1] != 2:
        raise ValueError(f'event frames are (T, 2, H, W), got shape {frames.shape}')
    frames = np.maximum(np.asarray(frames, np.float32), 0)
    total = frames.sum(axis=1)
    active = total[total > 0]
    top = float(np.quantile(active, 1 - _CLIPPED)) if len(active) else 1.0
    # From a third on: a single event is to be seen.
    strength = np.where(total > 0, 1 / 3 + 2 / 3 * np.minimum(total / top, 1), 0)[..., None]
    share_on = (frames[:, 1] / np.maximum(total, 1e-12))[..., None]
    colour = OFF + share_on * (ON - OFF)
    return np.round(GROUND + strength * (colour - GROUND)).astype(np.uint8)


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def event_strip(
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    titles: Sequence[str] | None = None,
    columns: int = 8,
) -> Figure:
    """Recordings below each other, their frames from left to right.

    Args:
        rows: Event frames ``(T, 2, H, W)`` of each recording, T being the same.
        labels: A name for each recording.
        titles: A text above each frame; None counts time steps.
        columns: Frames in a line; a recording with more of them has several lines.

    Returns:
        The figure; the caller saves it.

    Raises:
        ValueError: There is no recording, or they differ in T.
    """
    steps = {len(frames) for frames in rows}
    if len(steps) != 1:
        raise ValueError(f'recordings of one T are needed, got {sorted(steps) or "none"}')
    timesteps = steps.pop()
    titles = titles or [f'step {t + 1}' for t in range(timesteps)]
    columns = min(columns, timesteps)
    lines = -(-timesteps // columns)
    height, width = rows[0].shape[2:]
    side = _SIDE * height / width
    titled = 1 if lines == 1 else len(rows) * lines
    tall = len(rows) * lines * (side + 0.05) + titled * 0.27 + 0.4
    layout = ConstrainedLayoutEngine(w_pad=0.025, h_pad=0.025, wspace=0, hspace=0)
    figure = Figure(figsize=(columns * _SIDE + 0.4, tall), layout=layout)
    axes = figure.subplots(len(rows) * lines, columns, squeeze=False)
    for one in axes.flat:
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(False)
    for i, (frames, label) in enumerate(zip(rows, labels, strict=True)):
        places = axes[i * lines : (i + 1) * lines]
        places[0, 0].set_ylabel(label, fontsize=12)
        for one, image, title in zip(places.flat, event_images(frames), titles, strict=False):
            one.imshow(image, interpolation='nearest')
            if i == 0 or lines > 1:
                one.set_title(title, fontsize=12, pad=3)
    handles = [
        Patch(color=(ON / 255).tolist(), label='ON: brighter'),
        Patch(color=(OFF / 255).tolist(), label='OFF: darker'),
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=2, fontsize=12, frameon=False)
    return figure


def write_event_gif(path: Path, frames: np.ndarray, fps: float = 8.0, side: int = 320) -> None:
    """Write event frames as a GIF that repeats.

    Args:
        path: File to write.
        frames: Event frames ``(T, 2, H, W)``.
        fps: Frames per second.
        side: At least so many pixels high, unless the frames are higher.
    """
    images = event_images(frames)
    factor = max(1, side // images.shape[1])
    # One palette, so that no colour changes where nothing does.
    whole = Image.fromarray(images.reshape(-1, *images.shape[2:]))
    palette = whole.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    pictures = [
        Image.fromarray(_enlarged(image, factor)).quantize(
            palette=palette, dither=Image.Dither.NONE
        )
        for image in images
    ]
    buffer = BytesIO()
    pictures[0].save(
        buffer, format='GIF', save_all=True, append_images=pictures[1:],
        duration=round(1000 / fps), loop=0,
    )  # fmt: skip
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def event_blocks(
    frames: np.ndarray, captions: Sequence[str], width: int, side: int = 24
) -> RenderableType:
    """Event frames as coloured text, as many beside each other as the terminal is wide.

    Args:
        frames: Event frames ``(T, 2, H, W)``.
        captions: A text below each.
        width: Width of the terminal in characters.
        side: Largest height and width of a frame, in pixels; a character holds two, one above the
            other.
    """
    height, across = frames.shape[2:]
    scale = min(1.0, side / max(height, across))
    size = max(1, round(across * scale)), max(2, round(height * scale / 2) * 2)
    images = [
        cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in event_images(frames)
    ]
    per_line = max(1, (width + 1) // (size[0] + 1))
    grid = Table.grid(padding=(0, 1, 0, 0))
    for start in range(0, len(images), per_line):
        line = slice(start, start + per_line)
        grid.add_row(*(image_blocks(image) for image in images[line]))
        grid.add_row(*captions[line])
    return grid


def print_event_frames(console: Console, frames: np.ndarray) -> None:
    """Print :func:`event_blocks` with the number of events per frame."""
    captions = [f'{t}: {frame.sum():,.0f}' for t, frame in enumerate(frames, start=1)]
    console.print(event_blocks(frames, captions, console.width))
