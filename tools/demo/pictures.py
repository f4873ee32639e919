"""Pictures and tables of a classifier: its training, its mistakes, its answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmspike.visualization.plots import BLUE, LINES, ORANGE, RED
from mmspike.visualization.terminal import image_blocks


@dataclass(frozen=True)
class Prediction:
    """One test image with its answer.

    Attributes:
        image: ``(H, W)``, uint8.
        truth: Index of the true class.
        label: Index of the predicted class.
        score: Probability of the predicted class.
    """

    image: np.ndarray
    truth: int
    label: int
    score: float


def plot_training(
    axes: Axes, losses: Sequence[tuple[float, float]], accuracies: Sequence[tuple[float, float]]
) -> None:
    """Loss and accuracy over epochs; both are given as pairs (epoch, value), accuracy in %."""
    axes.plot(*zip(*losses, strict=True), color=BLUE)
    axes.set(xlabel='epoch', title='Training')
    axes.set_ylabel('loss', color=BLUE)
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    right.plot(*zip(*accuracies, strict=True), color=ORANGE, marker='o', markersize=3)
    right.set_ylabel('test top-1 (%)', color=ORANGE)
    right.set_ylim(0, 102)


def plot_confusion(axes: Axes, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Counts per true and predicted class, mistakes in red.

    Args:
        axes: Where to draw.
        matrix: Counts ``(classes, classes)``, rows are true classes.
        classes: Their names.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(matrix), strict=True):
        colour = RED if i != j else ('white' if share[i, j] > 0.5 else 'black')
        text = axes.text(
            j, i, str(matrix[i, j]), ha='center', va='center', color=colour, fontsize=9
        )
        if i != j and share[i, j] > 0.2:  # red is not read on blue
            text.set_bbox(dict(facecolor='white', edgecolor='none', pad=1))
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel='predicted', ylabel='true', title='Confusion matrix')


def draw_samples(figure: Figure, predictions: Sequence[Prediction], classes: Sequence[str],
                 per_row: int = 8) -> None:  # fmt: skip
    """Test images with the answer, its probability, and in red the truth where it is wrong."""
    rows = -(-len(predictions) // per_row)
    for axes, sample in zip(figure.subplots(rows, per_row).flat, predictions, strict=False):
        axes.imshow(sample.image, cmap='gray', vmin=0, vmax=255)
        right = sample.truth == sample.label
        title = f'{classes[sample.label]}  {sample.score:.0%}'
        if not right:
            title += f'\nis {classes[sample.truth]}'
        axes.set_title(title, color='black' if right else RED, fontsize=8)
    for axes in figure.axes:
        axes.axis('off')


def plot_seeds(axes: Axes, accuracies: dict[str, Sequence[float]], title: str) -> None:
    """Mean over seeds as a bar with its value, each seed as a point, side by side.

    Args:
        axes: Where to draw.
        accuracies: Name to accuracies in %, one per seed.
        title: Title of the plot.
    """
    for x, values in enumerate(accuracies.values()):
        colour, mean = LINES[x % len(LINES)][0], np.mean(values)
        axes.bar(x, mean, width=0.6, color=colour, alpha=0.5)
        places = x + 0.1 * (np.arange(len(values)) - (len(values) - 1) / 2)
        axes.plot(places, values, 'o', color='black', markersize=4)
        axes.text(x, 2, f'{mean:.1f} ± {deviation(values):.1f} %', ha='center', fontsize=11)
    axes.set_xticks(range(len(accuracies)), list(accuracies))
    axes.set(ylim=(0, 102), ylabel='test top-1 (%)', title=title)


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def seed_table(accuracies: dict[str, Sequence[float]], first: int, title: str) -> Table:
    """Accuracies of all seeds, their mean and standard deviation.

    Args:
        accuracies: Name to accuracies in %, one per seed.
        first: The first seed.
        title: Title of the table.
    """
    table = Table(title=title, title_justify='left')
    table.add_column('')
    for name in accuracies:
        table.add_column(name, justify='right')
    columns = list(accuracies.values())
    for i, values in enumerate(zip(*columns, strict=True)):
        table.add_row(f'seed {first + i}', *(f'{value:.1f} %' for value in values))
    table.add_section()
    table.add_row('mean', *(f'{np.mean(values):.1f} %' for values in columns))
    table.add_row('standard deviation', *(f'{deviation(values):.1f} %' for values in columns))
    return table


def confusion_table(matrix: np.ndarray, classes: Sequence[str]) -> Table:
    """Rows are true classes, columns predictions; mistakes are red.

    Args:
        matrix: Counts ``(classes, classes)``.
        classes: Their names.
    """
    table = Table(title='confusion matrix (rows: truth)', title_justify='left')
    table.add_column('')
    for name in classes:
        table.add_column(name, justify='right')
    for i, name in enumerate(classes):
        cells = []
        for j, count in enumerate(matrix[i]):
            style = 'green' if i == j else 'bold red'
            cells.append(Text(str(count), style=style) if count else Text('·', style='dim'))
        table.add_row(name, *cells)
    return table


def sample_grid(
    images: Sequence[np.ndarray], captions: Sequence[RenderableType], per_row: int = 8
) -> RenderableType:
    """Small grey images ``(H, W)`` in rows, each with a caption below."""
    rows = []
    for start in range(0, len(images), per_row):
        grid = Table.grid(padding=(0, 2))
        chosen = slice(start, start + per_row)
        grid.add_row(*(image_blocks(image) for image in images[chosen]))
        grid.add_row(*captions[chosen])
        rows.append(grid)
    return Group(*rows)
