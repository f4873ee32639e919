"""Plots as matplotlib figures; the caller saves them."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes

from mmspike.moved import moved_names
from mmspike.recorders.firing_rates import FiringRate

BLUE, ORANGE, RED, GREY = '#2f6fb2', '#e08a1e', '#c0392b', '#8a8f98'
# Colour, marker and line of curves: they differ without colour, too.
LINES = (
    (BLUE, 'o', '-'), (ORANGE, 's', '--'), ('#117733', '^', '-.'), ('#882255', 'D', ':'),
    ('#56b4e9', 'v', '-'), (RED, 'P', '--'), ('#222222', 'X', '-.'), (GREY, '*', ':'),
)  # fmt: skip


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


__getattr__ = moved_names(
    __name__,
    dict.fromkeys(
        ['Prediction', 'draw_samples', 'plot_confusion', 'plot_training'],
        'tools/demo/pictures.py',
    ),
)
