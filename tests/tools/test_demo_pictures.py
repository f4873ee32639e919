import io

import matplotlib
import numpy as np
import pytest
from rich.console import Console

matplotlib.use('Agg')

import matplotlib.pyplot as plt

from mmspike.visualization.plots import RED
from support.paths import ROOT


@pytest.fixture
def pictures(monkeypatch):
    """A module of the demo."""
    monkeypatch.syspath_prepend(ROOT / 'tools/demo')
    import pictures

    return pictures


def printed(renderable) -> str:
    console = Console(width=80, record=True, color_system=None, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_training_curve(pictures):
    _, axes = plt.subplots()
    pictures.plot_training(axes, [(0.5, 2.0), (1.0, 1.0)], [(1, 40.0), (2, 90.0)])
    assert axes.lines[0].get_ydata().tolist() == [2.0, 1.0]
    right = axes.figure.axes[1]
    assert right.lines[0].get_ydata().tolist() == [40.0, 90.0]


def test_confusion_marks_mistakes(pictures):
    _, axes = plt.subplots()
    pictures.plot_confusion(axes, np.array([[5, 0], [2, 7]]), ['a', 'b'])
    texts = {text.get_text(): text.get_color() for text in axes.texts}
    assert set(texts) == {'5', '2', '7'}
    assert texts['2'] == RED


def test_samples_say_what_they_really_are(pictures):
    image = np.zeros((8, 8), np.uint8)
    figure = plt.figure()
    samples = [pictures.Prediction(image, 0, 0, 0.9), pictures.Prediction(image, 1, 0, 0.6)]
    pictures.draw_samples(figure, samples, ['cat', 'dog'], per_row=4)
    assert [axes.get_title() for axes in figure.axes] == ['cat  90%', 'cat  60%\nis dog', '', '']


def test_mistakes_are_read_on_any_ground(pictures):
    _, axes = plt.subplots()
    pictures.plot_confusion(axes, np.array([[50, 1], [40, 2]]), ['a', 'b'])
    boxes = {text.get_text(): text.get_bbox_patch() for text in axes.texts}
    assert boxes['40'].get_facecolor() == (1, 1, 1, 1)
    assert boxes['1'] is None


def test_confusion(pictures):
    text = printed(pictures.confusion_table(np.array([[5, 0], [2, 7]]), ['cat', 'dog']))
    assert [line.split('│')[1:-1] for line in text.splitlines() if '│ dog' in line] == [
        [' dog ', '   2 ', '   7 ']
    ]


def test_seeds_as_a_plot(pictures):
    _, axes = plt.subplots()
    pictures.plot_seeds(axes, {'with': [96.0, 98.0], 'without': [70.0, 76.0]}, 'few')
    assert [bar.get_height() for bar in axes.patches] == [97, 73]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[96, 98], [70, 76]]
    assert [text.get_text() for text in axes.texts] == ['97.0 ± 1.4 %', '73.0 ± 4.2 %']
    assert [label.get_text() for label in axes.get_xticklabels()] == ['with', 'without']


def test_seeds_as_a_table(pictures):
    table = pictures.seed_table({'with': [96.0, 98.0], 'without': [70.0, 76.0]}, 5, 'few')
    rows = [line.split('│')[1:-1] for line in printed(table).splitlines() if '│' in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ['seed 5', '96.0 %', '70.0 %'],
        ['seed 6', '98.0 %', '76.0 %'],
        ['mean', '97.0 %', '73.0 %'],
        ['standard deviation', '1.4 %', '4.2 %'],
    ]


def test_a_single_seed_has_no_spread(pictures):
    assert pictures.deviation([97.0]) == 0


def test_samples_in_rows(pictures):
    images = [np.zeros((2, 2), np.uint8)] * 3
    text = printed(pictures.sample_grid(images, ['a', 'b', 'c'], per_row=2))
    assert text.split() == ['▀▀', '▀▀', 'a', 'b', '▀▀', 'c']
