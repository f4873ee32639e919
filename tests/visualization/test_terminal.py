import io

import numpy as np
import pytest
from rich.console import Console

from mmspike.recorders.firing_rates import FiringRate
from mmspike.visualization.terminal import (
    bar,
    firing_rate_table,
    image_blocks,
)


def printed(renderable) -> str:
    console = Console(width=80, record=True, color_system=None, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


@pytest.mark.parametrize(
    ('fraction', 'expected'),
    [(0, '    '), (1, '████'), (0.5, '██  '), (1 / 32, '▏   '), (2, '████'), (-1, '    ')],
)
def test_bar(fraction, expected):
    assert bar(fraction, width=4) == expected


def test_firing_rates_fit_into_80_columns():
    name = 'backbone.stages.3.blocks.1.sep_conv.pointwise1.activate'
    text = printed(firing_rate_table([FiringRate(name, 3.0, 1.0, 2)], 'rates'))
    assert 'stages.3.blocks.1.sep_conv.pointwise1 ' in text
    assert '1.500' in text
    assert '50.0%' in text
    assert '█' * 16 in text


def test_images_take_two_rows_per_line():
    blocks = image_blocks(np.arange(16, dtype=np.uint8).reshape(4, 4))
    assert blocks.plain == '▀▀▀▀\n▀▀▀▀\n'
    assert blocks.spans[0].style == 'rgb(0,0,0) on rgb(4,4,4)'
