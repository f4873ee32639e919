import matplotlib
import numpy as np

matplotlib.use('Agg')

import matplotlib.pyplot as plt

from mmspike.recorders.firing_rates import FiringRate
from mmspike.visualization import plots


def test_firing_rates_are_coloured_by_stage():
    rates = [
        FiringRate('backbone.stages.0.downsample.activate', 1, 1, 4),
        FiringRate('backbone.stages.1.downsample.activate', 2, 2, 4),
        FiringRate('backbone.stages.1.blocks.0.attn.neuron', 4, 2, 4),
        FiringRate('head.neuron', 8, 2, 4),
    ]
    _, axes = plt.subplots()
    plots.plot_firing_rates(axes, rates, max_rate=4)
    assert [bar.get_height() for bar in axes.patches] == [0.25, 0.5, 1.0, 2.0]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[1] == colours[2]
    assert len(set(colours)) == 3
    assert [label.get_text() for label in axes.get_xticklabels()] == ['stage 0', 'stage 1', 'head']


def test_no_legend_lies_on_a_curve():
    figure, axes = plt.subplots(figsize=(7, 4.2), layout='constrained')
    curve = np.linspace(10, 100, 64)
    plots.plot_accuracy_over_time(axes, {'a': curve, 'b': curve[::-1]}, {'without time': 98.0})
    figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    assert not legend.overlaps(axes.patch.get_window_extent())
    # Nor on the name of the axis, nor beyond the picture.
    assert not legend.overlaps(axes.xaxis.label.get_window_extent())
    assert legend.y0 >= 0


def test_curves_differ_without_colour():
    _, axes = plt.subplots()
    curves = {str(i): np.linspace(0, i, 5) for i in range(8)}
    plots.plot_accuracy_over_time(axes, curves, {})
    assert len(axes.lines) == 8
    assert len({line.get_marker() for line in axes.lines}) == 8
    assert len({line.get_color() for line in axes.lines}) == 8
    # Marks at steps 1, 2 and 4.
    assert axes.lines[0].get_markevery() == [0, 1, 3]
