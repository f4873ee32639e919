"""Plots as matplotlib figures; the caller saves them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmspike.recorders.firing_rates import FiringRate

BLUE, ORANGE, RED, GREY = '#2f6fb2', '#e08a1e', '#c0392b', '#8a8f98'
# Colour, marker and line of curves: they differ without colour, too.
LINES = (
    (BLUE, 'o', '-'), (ORANGE, 's', '--'), ('#117733', '^', '-.'), ('#882255', 'D', ':'),
    ('#56b4e9', 'v', '-'), (RED, 'P', '--'), ('#222222', 'X', '-.'), (GREY, '*', ':'),
)  # fmt: skip


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


def plot_firing_rates(axes: Axes, rates: Sequence[FiringRate], max_rate: float) -> None:
    """Rate of every neuron layer, coloured by stage.

    Args:
        axes: Where to draw.
        rates: Layers in the order of the model.
        max_rate: Largest possible rate: 1, or D of integer neurons.
    """
    stages = [_stage(rate.name) for rate in rates]
    palette = matplotlib.colormaps['viridis'](np.linspace(0.1, 0.85, max(len(set(stages)), 2)))
    order = {stage: i for i, stage in enumerate(dict.fromkeys(stages))}
    positions = np.arange(len(rates))
    axes.bar(positions, [r.rate for r in rates], color=[palette[order[stage]] for stage in stages])
    axes.set_xlim(-1, len(rates))
    axes.set_ylabel('spikes per neuron and step')
    axes.set_title(f'Firing rate per neuron layer (at most {max_rate:g})')
    middles = {stage: np.mean([p for p, s in zip(positions, stages, strict=True) if s == stage])
               for stage in order}  # fmt: skip
    axes.set_xticks(list(middles.values()), list(middles))


def _stage(name: str) -> str:
    parts = name.split('.')
    if 'stages' in parts:
        return f'stage {parts[parts.index("stages") + 1]}'
    return parts[0]


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


def plot_accuracy_over_time(
    axes: Axes, curves: dict[str, np.ndarray], levels: dict[str, float]
) -> None:
    """Accuracy after every time step of a converted network.

    Args:
        axes: Where to draw.
        curves: Name to accuracies in % after steps 1 to T.
        levels: Name to the accuracy in % of a network without time, drawn as a line.
    """
    for (name, curve), (colour, marker, line) in zip(curves.items(), cycle(LINES)):
        # Markers where the axis has its ticks.
        powers = [t - 1 for t in (2**i for i in range(len(curve).bit_length())) if t <= len(curve)]
        axes.plot(
            np.arange(1, len(curve) + 1), curve, color=colour, marker=marker, linestyle=line,
            markersize=5, markevery=powers, label=name,
        )  # fmt: skip
    for (name, level), line in zip(levels.items(), cycle(('--', ':', '-.'))):
        axes.axhline(level, color=GREY, linestyle=line, linewidth=1, label=f'{name}: {level:.2f} %')
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter('%d'))
    axes.set(xlabel='time steps', ylabel='top-1 (%)', title='Accuracy over time')
    legend_below(axes)


def legend_below(axes: Axes) -> None:
    """A legend below the axes, where no curve is; the figure needs a constrained layout."""
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False)
