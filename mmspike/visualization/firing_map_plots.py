"""The prediction for an image beside the firing maps of the stages."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mmspike.recorders.firing_maps import FiringMap

# Inches. A stage's panel is so long at its longer side, unless the other would be too short for
# the title or for the bar of colours.
PANEL, MIN_WIDTH, MIN_HEIGHT = 2.0, 1.6, 1.1
TITLE, BAR, LEGEND = 0.55, 0.9, 0.35
# In points: in a page that shows the whole figure, it is still read.
FONT = 11
PER_LINE = 6  # entries of the legend
# A picture that is still longer does not fill its panel.
MAX_RATIO = 3


def firing_map_figure(
    result: np.ndarray,
    image: np.ndarray,
    maps: Sequence[FiringMap],
    title: str = '',
    legend: Sequence[Artist] = (),
) -> Figure:
    """The result at the left; at the right two rows of maps over the image, with one scale.

    An odd number of maps leaves room for one more panel, which shows the image itself.

    Args:
        result: Picture of the prediction, ``(H', W', 3)``, uint8, RGB.
        image: What the model saw, without padding, ``(H, W, 3)``, uint8, RGB.
        maps: Firing maps of which the first sample is shown; none draws the result alone.
        title: Of the result.
        legend: Entries of a legend below the result, as of
            :func:`mmspike.visualization.scene_plots.class_handles`.

    Raises:
        ValueError: The image is larger than what the backbone was given.
    """
    width, height = panel_size(image if maps else result)
    columns = (len(maps) + 1) // 2
    left = _ratio(result) * (2 * height + TITLE)  # as high as two rows
    figure = Figure(
        figsize=(
            left + columns * width + (BAR if maps else 0),
            2 * (height + TITLE) + LEGEND * -(-len(legend) // PER_LINE),
        ),
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06),
    )
    grid = figure.add_gridspec(2, 1 + columns, width_ratios=[left] + [width] * columns)
    axes = figure.add_subplot(grid[:, 0])
    axes.imshow(result)
    axes.set_title(title, fontsize=FONT + 1)
    axes.axis('off')
    if legend:
        axes.legend(
            handles=legend, loc='upper center', bbox_to_anchor=(0.5, 0), frameon=False,
            ncols=min(PER_LINE, len(legend)), fontsize=FONT, handletextpad=0.1, columnspacing=1,
        )  # fmt: skip
    if maps:
        panels = [figure.add_subplot(grid[i // columns, 1 + i % columns])
                  for i in range(2 * columns)]  # fmt: skip
        _draw_maps(figure, panels, image, maps)
    return figure


def _ratio(picture: np.ndarray) -> float:
    return min(max(picture.shape[1] / picture.shape[0], 1 / MAX_RATIO), MAX_RATIO)


def panel_size(picture: np.ndarray, length: float = PANEL) -> tuple[float, float]:
    """Width and height of a panel of a picture, with the longer side of ``length`` inches."""
    ratio = _ratio(picture)
    width, height = length * min(ratio, 1), length * min(1 / ratio, 1)
    scale = max(1, MIN_WIDTH / width, MIN_HEIGHT / height)
    return scale * width, scale * height


def draw_map(
    axes: Axes,
    image: np.ndarray,
    overlay: np.ndarray,
    largest: float,
    cmap: str = 'inferno',
    gamma: float = 1.0,
) -> AxesImage:
    """Draw a map over the image; return the artist whose ``set_data`` replaces the map.

    Args:
        axes: Where to draw.
        image: ``(H, W, 3)``, uint8, RGB.
        overlay: The map, ``(H, W)``.
        largest: Value of the last colour; the first is that of 0.
        cmap: Colours.
        gamma: Below 1, small values get more of the colours.
    """
    # Grey and faint, so that colour and brightness are those of the maps.
    axes.imshow(88 + 0.3 * image.mean(axis=-1), cmap='gray', vmin=0, vmax=255)
    norm = PowerNorm(gamma, vmin=0, vmax=largest)
    return axes.imshow(overlay, cmap=cmap, norm=norm, alpha=0.75)


def _draw_maps(figure: Figure, panels: list, image: np.ndarray, maps: Sequence[FiringMap]) -> None:
    overlays = [one.on_image(*image.shape[:2]).numpy() for one in maps]
    largest = max(float(overlay.max()) for overlay in overlays) or 1.0
    stages = panels
    if len(maps) % 2:
        seen, *stages = panels
        seen.imshow(image)
        seen.set_title('what the model sees', fontsize=FONT)
    for axes, one, overlay in zip(stages, maps, overlays, strict=True):
        drawn = draw_map(axes, image, overlay, largest)
        axes.set_title(f'{one.stage}, stride {one.stride}\nmean {one.mean:.3f}', fontsize=FONT)
    for axes in panels:
        axes.axis('off')
    bar = figure.colorbar(drawn, ax=panels, fraction=0.05, aspect=30, pad=0.02)
    bar.set_label('spikes per neuron and step', size=FONT)
    cast(QuadMesh, bar.solids).set_alpha(1)
