"""Runs our models on the reference cases and writes the tables of docs/parity.md.

    python tests/reference_cases.py [CASE ...]

Without names, all cases are measured; with names, these only, and the other rows stay.
"""

import argparse
import sys
from collections.abc import Sequence

import torch

from support import parity_page
from support.parity import compare
from support.spiking_distances import distances


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 for a name that is no case."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('cases', nargs='*', metavar='CASE', help='measure these only')
    names = parser.parse_args(argv).cases
    page = parity_page.PAGE.read_text()
    listed = parity_page.listed_cases(page)
    if unknown := sorted(set(names) - set(listed)):
        parser.error(f'no table of docs/parity.md has {", ".join(unknown)}; cases: {listed}')
    # Sums of several threads are added up in another order.
    torch.set_num_threads(1)
    differences, gaps = parity_page.read_differences(page), parity_page.read_distances(page)
    for name in names or listed:
        print(name)
        differences[name] = compare(name)
        if name.startswith('mst_snn'):
            gaps[name] = distances(name)
    parity_page.PAGE.write_text(parity_page.write(page, differences, dict(sorted(gaps.items()))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
