"""Words for messages about data of one's own."""

from collections.abc import Iterable
from typing import Any

_SHOWN = 12


def in_words(names: Iterable[str]) -> str:
    """The names in quotes, the first of them if there are many."""
    names = [repr(str(name)) for name in names]
    more = [f'... ({len(names)} in all)'] if len(names) > _SHOWN else []
    return ', '.join(names[:_SHOWN] + more) or 'none'


def where(dataset: Any, option: str) -> str:
    """The options of a dataset that make up a path; the host has joined them already."""
    return f'from data_root={dataset.data_root!r} and {option} of {type(dataset).__name__}'
