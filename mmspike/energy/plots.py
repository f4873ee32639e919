"""Pictures of an energy report, as PNG files in memory."""

import io
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmspike.energy.report import EnergyReport
from mmspike.energy.rows import MICROJOULE
from mmspike.visualization.plots import BLUE, GREY, ORANGE, RED

# Beyond this span between layers a linear axis would hide the small ones.
LOG_SPAN = 30


def energy_png(report: EnergyReport) -> bytes:
    """Energy of every layer, a spiking one in blue, an analog one in orange, before the ANN's."""
    figure = Figure(figsize=(11, 4.6), layout='constrained')
    plot_energy(figure.subplots(), report)
    return to_png(figure)


def rates_png(report: EnergyReport) -> bytes:
    """Firing rate of every neuron layer."""
    figure = Figure(figsize=(11, 3.6), layout='constrained')
    plot_rates(figure.subplots(), report)
    return to_png(figure)


def plot_energy(axes: Axes, report: EnergyReport) -> None:
    """Bars per layer in microjoule per image; the wide grey ones behind are those of the ANN."""
    rows = report.layers
    own = np.array([row.energy_pj for row in rows]) / 1e6
    ann = np.array([row.ann_pj for row in rows]) / 1e6
    places = np.arange(len(rows))
    analog = np.array([row.macs > 0 for row in rows], dtype=bool)
    axes.bar(places, ann, width=0.9, color='#d5d8dd', label='ANN, all MACs')
    for chosen, colour, label in (
        (~analog, BLUE, 'spikes in (SOPs)'), (analog, ORANGE, 'real numbers in (MACs)')
    ):  # fmt: skip
        if chosen.any():
            axes.bar(places[chosen], own[chosen], width=0.5, color=colour, label=label)
    seen = np.concatenate([own, ann])
    seen = seen[seen > 0]
    if len(seen):
        top = seen.max()
        if top / np.quantile(seen, 0.1) > LOG_SPAN:
            axes.set_yscale('log')
            # A layer that was hardly used would make all others look alike.
            axes.set_ylim(max(seen.min() / 2, top / 1e5), top * 1.6)
    axes.set_ylabel(f'{MICROJOULE} per image')
    axes.grid(axis='y', color='#eceef1')
    axes.set_axisbelow(True)
    totals = report.totals
    title = f'{report.name}: {totals.energy_mj:.3g} mJ per image'
    if report.ratio is not None:
        title += f', the ANN {totals.ann_mj:.3g} mJ ({report.ratio:.2f} x)'
    _title(axes, title)
    name_banner(axes, report)
    _name_stages(axes, [row.stage for row in rows])
    _legend(axes)


def plot_rates(axes: Axes, report: EnergyReport) -> None:
    """Bars per neuron layer; red are dead and saturated ones, dots the share of active outputs."""
    rows = report.neurons
    places = np.arange(len(rows))
    odd = np.array([row.dead or row.saturated for row in rows], dtype=bool)
    rates, active = (np.array([getattr(row, key) for row in rows]) for key in ('rate', 'active'))
    for chosen, colour, label in ((~odd, BLUE, 'rate'), (odd, RED, 'rate, saturated or dead (x)')):
        if chosen.any():
            axes.bar(places[chosen], rates[chosen], width=0.7, color=colour, label=label)
    axes.plot(places, active, '.', color=ORANGE, markersize=4, label='share of outputs not 0')
    dead = [i for i, row in enumerate(rows) if row.dead]
    if dead:
        axes.plot(dead, [0] * len(dead), 'x', color=RED, markersize=5, clip_on=False)
    axes.set_ylabel('spikes per neuron and step')
    largest = max((row.max_spikes for row in rows), default=1)
    _title(axes, f'{report.name}: firing rates (at most {largest})')
    name_banner(axes, report)
    _legend(axes)
    axes.grid(axis='y', color='#eceef1')
    axes.set_axisbelow(True)
    _name_stages(axes, [row.stage for row in rows])


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10 if len(text) < 110 else 8)


def name_banner(axes: Axes, report: EnergyReport) -> None:
    """Write across the picture that weights or images are random."""
    if report.origin.banner:
        axes.figure.suptitle(
            report.origin.banner, color='white', backgroundcolor=RED, fontsize=10, fontweight='bold'
        )


def _legend(axes: Axes) -> None:
    axes.legend(loc='upper right', ncols=3, fontsize=8, framealpha=0.9, bbox_to_anchor=(1, -0.08),
                frameon=False)  # fmt: skip


def _name_stages(axes: Axes, stages: list[str]) -> None:
    """Label runs of bars of the same stage, with a line between."""
    begins = [i for i, stage in enumerate(stages) if not i or stages[i - 1] != stage]
    ends = [*begins[1:], len(stages)] if stages else []
    for begin in begins[1:]:
        axes.axvline(begin - 0.5, color=GREY, linewidth=0.6, linestyle=':')
    middles = [(begin + end - 1) / 2 for begin, end in zip(begins, ends, strict=True)]
    crowded = any(
        b - a < 0.0065 * max(map(len, stages)) * len(stages) for a, b in pairwise(middles)
    )
    axes.set_xticks(
        middles,
        [stages[begin] for begin in begins],
        rotation=35 if crowded else 0,
        ha='right' if crowded else 'center',
        fontsize=8,
    )
    axes.tick_params(axis='x', length=0)
    axes.set_xlim(-0.7, max(len(stages), 1) - 0.3)


def to_png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    # Not through pyplot: neither a window nor the backend that someone chose is touched.
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    with matplotlib.rc_context({'font.size': 9}):
        figure.savefig(content, format='png', dpi=130)
    return content.getvalue()
