"""Text formatting for messages."""

from collections.abc import Sequence


def some_of(names: Sequence[str], shown: int = 5) -> str:
    """The first names, and how many more there are.

    >>> some_of(['a', 'b', 'c'], 2)
    'a, b and 1 more'
    """
    rest = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(names[:shown]) + rest
