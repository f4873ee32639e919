"""The demo's terminal, and the file for the output of libraries."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from rich.console import Console

# Bound to the terminal, not to what sys.stdout is later.
console = Console(file=sys.stdout, highlight=False)


@contextmanager
def libraries_write_to(path: Path) -> Iterator[None]:
    """Send prints, logs and warnings of libraries to a file, also during imports.

    :data:`console` still writes to the terminal. An exception leaves the block first, so that its
    traceback is printed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a') as log, redirect_stdout(log), redirect_stderr(log):
        yield
