"""Maps over an image as panels of one figure, and as the frames of a GIF."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from mmspike.files import atomic_write
from mmspike.visualization.firing_map_plots import BAR, TITLE, draw_map, panel_size

LENGTH = 2.0  # of a panel's longer side, in inches


@dataclass(frozen=True)
class Panel:
    """A map to draw.

    Attributes:
        title: One or two lines.
        overlay: The map, as large as the image, ``(H, W)``.
    """

    title: str
    overlay: np.ndarray


def map_figure(
    image: np.ndarray,
    panels: Sequence[Panel],
    columns: int,
    label: str,
    *,
    cmap: str = 'inferno',
    gamma: float = 1.0,
    largest: float | None = None,
    with_image: bool = False,
) -> tuple[Figure, list[AxesImage]]:
    """Maps over an image, row by row and with one scale of colours.

    Args:
        image: What the model saw, without padding, ``(H, W, 3)``, uint8, RGB.
        panels: What to draw, at least one.
        columns: Panels in a row.
        label: Of the colours.
        cmap: Colours.
        gamma: Below 1, small values get more of the colours.
        largest: Value of the last colour; None takes the largest of all maps.
        with_image: Begin with a panel of the image itself.

    Returns:
        The figure, and the drawn map of each panel.

    Raises:
        ValueError: There is no panel.
    """
    if not panels:
        raise ValueError('there is no map to draw')
    if largest is None:
        largest = max(float(panel.overlay.max()) for panel in panels)
    width, height = panel_size(image, LENGTH)
    rows = -(-(len(panels) + with_image) // columns)
    figure = Figure(
        figsize=(columns * width + BAR, rows * (height + TITLE) + 0.1),
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06),
    )
    every = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in every:
        axes.axis('off')
        axes.set(xticks=[], yticks=[])  # which take most of the time, though unseen
    places = list(every)
    if with_image:
        seen = places.pop(0)
        seen.imshow(image)
        seen.set_title('what the model sees', fontsize=9)
    drawn = []
    for axes, panel in zip(places, panels, strict=False):
        drawn.append(draw_map(axes, image, panel.overlay, largest or 1.0, cmap, gamma))
        axes.set_title(panel.title, fontsize=9)
    bar = figure.colorbar(drawn[0], ax=every, label=label, aspect=15 * rows, pad=0.02,
                          fraction=0.05 if columns > 1 else 0.08)  # fmt: skip
    cast(QuadMesh, bar.solids).set_alpha(1)
    return figure, drawn


class _OnePaletteWriter(PillowWriter):
    """Gives all frames the same 256 colours, so that none changes where the map does not."""

    _frames: list[Image.Image]  # of matplotlib's writer

    def finish(self) -> None:
        width, height = self._frames[0].size
        every = Image.new('RGB', (width, height * len(self._frames)))
        for i, frame in enumerate(self._frames):
            every.paste(frame, (0, i * height))
        palette = every.quantize(256, method=Image.Quantize.MAXCOVERAGE)
        self._frames = [
            frame.convert('RGB').quantize(palette=palette, dither=Image.Dither.NONE)
            for frame in self._frames
        ]
        super().finish()


def write_map_gif(
    path: Path,
    image: np.ndarray,
    frames: Sequence[tuple[str, Sequence[Panel]]],
    label: str,
    *,
    gamma: float = 1.0,
    fps: float = 2.0,
    dpi: int = 90,
) -> None:
    """Write a GIF of panels that change, beside the image.

    Args:
        path: File to write.
        image: What the model saw, without padding, ``(H, W, 3)``, uint8, RGB.
        frames: Title and panels of each frame, at least one; all have as many panels. Frames of
            one title and equal maps would become one.
        label: Of the colours, whose scale is that of all frames.
        gamma: Below 1, small values get more of the colours.
        fps: Frames per second.
        dpi: Pixels per inch.

    Raises:
        ValueError: There is no panel, or the frames do not have equally many.
    """
    number = len(frames[0][1]) if frames else 0
    columns = number + 1 if number < 3 else (number + 2) // 2
    largest = max((float(p.overlay.max()) for _, panels in frames for p in panels), default=0.0)
    figure, drawn = map_figure(
        image, frames[0][1] if frames else [], columns, label,
        gamma=gamma, largest=largest, with_image=True,
    )  # fmt: skip
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.35)
    title = figure.suptitle(frames[0][0], fontsize=11)
    # Later frames are to change colours and text, not the places of the panels.
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    with TemporaryDirectory() as folder:
        file = Path(folder, 'frames.gif')
        writer = _OnePaletteWriter(fps=fps)  # type: ignore[arg-type]  # takes any number
        with writer.saving(figure, str(file), dpi):
            for text, panels in frames:
                title.set_text(text)
                for one, panel in zip(drawn, panels, strict=True):
                    one.set_data(panel.overlay)
                    one.axes.set_title(panel.title, fontsize=9)
                writer.grab_frame()
        with atomic_write(path) as out:
            out.write(file.read_bytes())
