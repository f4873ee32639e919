"""What the converters of this folder share: arguments, and what is said of the keys."""

import argparse
import sys
from collections.abc import Callable

from rich.console import Console

from mmspike.converters.weights import Conversion


def converter_parser(description: str, source: str) -> argparse.ArgumentParser:
    """A parser for ``SOURCE TARGET [--verbose]``; ``source`` says whose file it is."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('source', help=f'file of {source}')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--verbose', action='store_true', help='list every renamed key')
    return parser


def run_converter(
    parser: argparse.ArgumentParser, convert: Callable[[argparse.Namespace], Conversion]
) -> None:
    """Parse the command line, convert, and say what became of the keys.

    Leaves the process with status 1 and a message where the files or options are not acceptable.
    """
    args = parser.parse_args()
    try:
        done = convert(args)
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f'{parser.prog}: {error}')
    console = Console(soft_wrap=True, highlight=False)
    if args.verbose:
        for old, new in done.renamed.items():
            console.print(f'{old} -> {new}')
    for name, keys in (('missing', done.missing), ('unexpected', done.unexpected)):
        for key in keys:
            console.print(f'{name}: {key}', style='red')
    unused = f', {len(done.unused)} never used' if done.unused else ''
    console.print(
        f'{args.target}: arch {done.arch}, {len(done.renamed)} renamed, '
        f'{len(done.missing)} missing, {len(done.unexpected)} unexpected{unused}'
    )
