"""Checks the claims about a network of every family and writes the table of docs/claims.md.

    python tests/claims_table.py [NAME ...]

Without names, all networks are checked; with names, these only, and the other rows stay.
"""

import argparse
import sys
from collections.abc import Sequence

import torch

from mmspike.claims.check import CLAIMS
from support import claims_page


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 for a name that is no network of the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*', metavar='NAME', help='check these only')
    names = parser.parse_args(argv).names
    if unknown := sorted(set(names) - set(claims_page.NAMES)):
        parser.error(f'no such network: {unknown}; known: {list(claims_page.NAMES)}')
    torch.set_num_threads(1)
    page = claims_page.PAGE.read_text()
    rows = claims_page.read_rows(page)
    for name in names or claims_page.NAMES:
        rows[name] = claims_page.rows_of(name)
        print('\n'.join(rows[name]), flush=True)
    claims_page.PAGE.write_text(claims_page.write(page, rows, list(CLAIMS)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
