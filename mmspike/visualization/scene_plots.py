"""Objects and label maps over an image: outlines, names, scores, and a legend of the classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

# Ten colours for dark ground that differ for colour-blind eyes too (the tests measure it).
PALETTE = tuple(
    map(
        to_rgb,
        ('#0099ff', '#ff6600', '#99ff00', '#cc0000', '#ccccff',
         '#996666', '#9900ff', '#ff9966', '#666699', '#ffcccc'),
    )
)  # fmt: skip
Colour = tuple[float, float, float]

# A region of a label map that is smaller, in shares of the image, gets no name.
_SMALLEST_NAMED = 0.004
_DARK = withStroke(linewidth=2.5, foreground='black')


@dataclass(frozen=True)
class Objects:
    """N objects of an image.

    Attributes:
        boxes: ``(N, 4)``, left, top, right, bottom in pixels.
        labels: Indices of the classes ``(N,)``.
        masks: ``(N, H, W)``, bool; None draws boxes only.
        scores: ``(N,)``, 0 to 1; None writes none.
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None
    scores: np.ndarray | None = None


def class_colours(
    number: int, palette: Sequence[Sequence[int]] | str | None = None
) -> list[Colour]:
    """Colours of so many classes, each 3 numbers of 0 to 1.

    Args:
        number: Of classes. From eleven on some colours are alike.
        palette: Colours that a dataset has for its classes, each 3 numbers of 0 to 255; text, such
            as mmdet's 'random', is none.
    """
    if palette and not isinstance(palette, str):
        return [(r / 255, g / 255, b / 255) for r, g, b in palette[:number]]
    if number <= len(PALETTE):
        return list(PALETTE[:number])
    # The golden ratio puts each hue far from those before it; brightness tells neighbours apart.
    turns = np.arange(number)
    hues, values = (turns * 0.618034) % 1, np.array([1.0, 0.75, 0.9])[turns % 3]
    colours = hsv_to_rgb(np.stack([hues, np.full(number, 0.75), values], axis=-1))
    return [tuple(colour) for colour in colours.tolist()]


def as_ground(image: np.ndarray) -> np.ndarray:
    """An image ``(H, W, 3)``, uint8, in dim grey: colours on it are those of classes."""
    grey = 20 + 0.55 * image.mean(axis=-1, keepdims=True)
    return np.repeat(grey, 3, axis=-1).astype(np.uint8)


def draw_objects(
    axes: Axes,
    image: np.ndarray,
    objects: Objects,
    colours: Sequence[Colour],
    names: Sequence[str],
    fontsize: float = 8,
) -> None:
    """Outline, name and score of each object, in its class's colour on the image in grey.

    The outline is that of the mask, with the box as a thin line; without masks, of the box.

    Args:
        axes: Where to draw.
        image: ``(H, W, 3)``, uint8, RGB.
        objects: What to draw.
        colours: Of each class.
        names: Of each class.
        fontsize: Of name and score, in points.
    """
    axes.imshow(as_ground(image))
    masks = objects.masks
    for i, (box, label) in enumerate(zip(objects.boxes, objects.labels, strict=True)):
        colour = colours[label]
        # imshow puts the middle of a pixel at whole numbers, a box its edge.
        x1, y1, x2, y2 = (float(side) - 0.5 for side in box)
        thin = masks is not None
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour,
                      linewidth=0.6 if thin else 1.6, linestyle=':' if thin else '-')
        )  # fmt: skip
        if masks is not None:
            _outline(axes, masks[i], colour)
        text = names[label]
        if objects.scores is not None:
            text += f' {objects.scores[i]:.2f}'
        # Above the box where there is room, or else in it.
        above = y1 > 0.08 * image.shape[0]
        axes.text(
            x1, y1, text, color=_on(colour), fontsize=fontsize, fontweight='bold', clip_on=True,
            verticalalignment='bottom' if above else 'top',
            bbox=dict(facecolor=colour, edgecolor='none', pad=1),
        )  # fmt: skip


def draw_label_map(
    axes: Axes,
    image: np.ndarray,
    labels: np.ndarray,
    colours: Sequence[Colour],
    names: Sequence[str],
    ground: Sequence[int] = (),
    fontsize: float = 8,
) -> None:
    """Classes' colours on the image in grey, and the name in every region that has room for it.

    Args:
        axes: Where to draw.
        image: ``(H, W, 3)``, uint8, RGB.
        labels: Class of each pixel ``(H, W)``; other numbers than classes show the image.
        colours: Of each class.
        names: Of each class.
        ground: Classes that show the image, too, and get no name.
        fontsize: Of the names, in points.
    """
    picture = as_ground(image).astype(float)
    shown = [one for one in np.unique(labels).tolist() if one < len(names) and one not in ground]
    for label in shown:
        picture[labels == label] = 0.25 * picture[labels == label] + 0.75 * 255 * np.array(
            colours[label]
        )
    axes.imshow(picture.astype(np.uint8))
    for label in shown:
        count, regions, stats, _ = cv2.connectedComponentsWithStats(
            (labels == label).astype(np.uint8)
        )
        for i in range(1, count):
            if stats[i, cv2.CC_STAT_AREA] >= _SMALLEST_NAMED * labels.size:
                x, y = _innermost(regions == i)
                axes.text(
                    x, y, names[label], color='white', fontsize=fontsize, fontweight='bold',
                    horizontalalignment='center', verticalalignment='center', clip_on=True,
                    path_effects=[_DARK],
                )  # fmt: skip


def class_handles(colours: Sequence[Colour], names: Sequence[str]) -> list[Artist]:
    """An entry for each class, for a legend."""
    return [
        Line2D([], [], color=colour, marker='s', linestyle='', markersize=8, label=name,
               markeredgecolor='black', markeredgewidth=0.5)
        for colour, name in zip(colours, names, strict=True)
    ]  # fmt: skip


def _outline(axes: Axes, mask: np.ndarray, colour: Colour) -> None:
    """Draw the edge of a mask ``(H, W)``; dark beside it, so that it shows on any ground."""
    edges, _ = cv2.findContours(
        np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    for edge in edges:
        points = np.concatenate([edge, edge[:1]])[:, 0]
        axes.plot(*points.T, color=colour, linewidth=1.6, path_effects=[_DARK])


def _innermost(region: np.ndarray) -> tuple[int, int]:
    """The pixel ``(x, y)`` of a region ``(H, W)`` that is farthest from its edge."""
    padded = np.pad(region, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def _on(colour: Colour) -> str:
    """Black or white, whichever is read on that colour."""
    return 'black' if np.dot(colour, (0.299, 0.587, 0.114)) > 0.5 else 'white'
