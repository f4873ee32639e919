"""Heat map of firing rates by time step and slot."""

import numpy as np
from matplotlib.figure import Figure

from mmspike.energy.plots import name_banner, to_png
from mmspike.energy.report import EnergyReport

# More layers than this have no room for their names.
MOST_NAMES = 80


def step_rates_png(report: EnergyReport) -> bytes:
    """Layers from top to bottom; from left to right the steps, and in each step the slots."""
    steps = max(one.rates.shape[0] for one in report.step_rates)
    slots = max(one.rates.shape[1] for one in report.step_rates)
    grid = np.full((len(report.step_rates), steps, slots), np.nan)
    for row, one in enumerate(report.step_rates):
        grid[row, : one.rates.shape[0], : one.rates.shape[1]] = one.rates.numpy()
    height = 1.6 + 0.16 * len(grid)
    figure = Figure(figsize=(11, height), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(grid.reshape(len(grid), -1), aspect='auto', cmap='viridis', vmin=0)
    figure.colorbar(image, label='share of neurons that fire')
    axes.set_title(f'{report.name}: firing rates by step and slot', fontsize=10)
    axes.set_xlabel('time step' + (f', {slots} slots each' if slots > 1 else ''))
    every = max(1, steps // 16)
    axes.set_xticks(
        [step * slots + (slots - 1) / 2 for step in range(0, steps, every)],
        [str(step + 1) for step in range(0, steps, every)],
    )
    if slots > 1:
        for step in range(1, steps):
            axes.axvline(step * slots - 0.5, color='white', linewidth=0.8)
    if len(grid) <= MOST_NAMES:
        names = [one.name.removeprefix('backbone.') for one in report.step_rates]
        axes.set_yticks(range(len(names)), names, fontsize=6)
    name_banner(axes, report)
    return to_png(figure)
