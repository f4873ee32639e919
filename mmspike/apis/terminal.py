"""The terminal of a tool: its console and its progress bar."""

import os

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def tool_console(file_width: int | None = None) -> Console:
    """A console without highlighted numbers and paths.

    Args:
        file_width: Columns where the output is no terminal and ``COLUMNS`` is not set; None leaves
            it to rich (80).
    """
    console = Console(highlight=False)
    if file_width and not console.is_terminal and 'COLUMNS' not in os.environ:
        console.width = file_width
    return console


def progress_bar(
    console: Console | None = None, clock: ProgressColumn | None = None, *, disable: bool = False
) -> Progress:
    """A bar that counts and disappears at its end.

    Args:
        console: Where it is shown; None takes the global one of rich.
        clock: Column behind the counts; None shows the remaining time.
        disable: Show nothing.
    """
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        clock or TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=disable,
    )
