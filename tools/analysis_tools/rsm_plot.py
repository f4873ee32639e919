"""The picture of a sweep over masking ratios."""

import io
import textwrap
from collections.abc import Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rsm_points import Sweep

from mmspike.visualization.plots import LINES


def sweep_png(sweep: Sweep, groups: Sequence[str], ratios: Sequence[float], title: str) -> bytes:
    """Score and energy over the ratio, a line per group, as a PNG file."""
    figure = Figure(figsize=(9, 3.8), layout='constrained')
    figure.suptitle(textwrap.fill(title, 90), fontsize=10)
    left, right = figure.subplots(1, 2)
    for i, group in enumerate(groups):
        curve = sweep.curve(group, ratios)
        colour, marker, line = LINES[i % len(LINES)]
        for axes, values in (
            (left, [point.score for point in curve]),
            (right, [point.energy_mj for point in curve]),
        ):
            axes.plot(
                [point.ratio for point in curve], values, color=colour, marker=marker,
                # Hollow markers keep overlapping curves visible.
                linestyle=line, markersize=6, markerfacecolor='none', label=group,
            )  # fmt: skip
    left.set_ylabel(sweep.settings['metric'])
    right.set_ylabel('mJ per image')
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlabel('share of spikes dropped')
        axes.grid(color='#eceef1')
        axes.set_axisbelow(True)
    figure.legend(
        *left.get_legend_handles_labels(), loc='outside lower center', ncols=4, frameon=False
    )
    # Without pyplot, which may open a window or change the backend.
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    with matplotlib.rc_context({'font.size': 9}):
        figure.savefig(content, format='png', dpi=130)
    return content.getvalue()
