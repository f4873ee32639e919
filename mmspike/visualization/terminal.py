"""Results as coloured text for the terminal (rich)."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from mmspike.moved import moved_names
from mmspike.recorders.firing_rates import FiringRate

_BLOCKS = ' ▏▎▍▌▋▊▉█'


def bar(fraction: float, width: int = 16) -> str:
    """A bar of ``width`` characters, filled to ``fraction`` (0 to 1) in steps of an eighth."""
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ('█' * full + (_BLOCKS[rest] if rest else '')).ljust(width)


def layer_label(name: str) -> str:
    """A module's name without the parts that all neuron layers share."""
    return name.removeprefix('backbone.').removesuffix('.activate')


def firing_rate_table(rates: Sequence[FiringRate], title: str) -> Table:
    """One line per layer: rate (spikes per neuron and step), share of active outputs, a bar."""
    table = Table(title=title, title_justify='left')
    table.add_column('neuron layer')
    table.add_column('rate', justify='right')
    table.add_column('active', justify='right')
    table.add_column('of the largest')
    largest = max((rate.rate for rate in rates), default=0.0) or 1.0
    for rate in rates:
        table.add_row(
            layer_label(rate.name),
            f'{rate.rate:.3f}',
            f'{rate.active_fraction:.1%}',
            Text(bar(rate.rate / largest), style='cyan'),
        )
    return table


def image_blocks(image: np.ndarray) -> Text:
    """Draw an image with two pixels per character.

    Args:
        image: Grey ``(H, W)`` or RGB ``(H, W, 3)``, uint8, H even.
    """
    text = Text()
    colours = np.broadcast_to(image[..., None] if image.ndim == 2 else image, (*image.shape[:2], 3))
    for upper, lower in zip(colours[::2], colours[1::2], strict=True):
        for a, b in zip(upper, lower, strict=True):
            text.append('▀', style='rgb({},{},{}) on rgb({},{},{})'.format(*a, *b))
        text.append('\n')
    return text


__getattr__ = moved_names(
    __name__,
    dict.fromkeys(
        ['confusion_table', 'sample_grid'],
        'tools/demo/pictures.py',
    ),
)
