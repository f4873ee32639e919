"""Prints the tables of docs/parity.md: how far our models are from the reference implementations.

    python tests/parity_tables.py sdt
    python tests/parity_tables.py mst

The second also says how far spiking networks are from quantised ones after some numbers of steps.
"""

import argparse
from collections.abc import Callable, Iterable

from support import reference_mst as mst
from support.reference_cases import (
    DENSE_CASES,
    SDTV3_CASES,
    Difference,
    compare_dense,
    compare_sdtv3,
)
from support.reference_events import EVENT_CASES, compare_sdtv3_events
from support.reference_sdt import SDT_CASES, compare_sdt


def print_differences(*cases: tuple[Iterable[str], Callable[[str], list[Difference]]]) -> None:
    """Print a row per compared quantity of each case, for cases and the function that runs them."""
    print('| case | quantity | largest absolute difference | relative (l2) difference |')
    print('|---|---|--:|--:|')
    for names, compare in cases:
        for name in names:
            for row in compare(name):
                print(f'| {name} | {row.quantity} | {row.absolute:.1e} | {row.relative:.1e} |')


def print_distances() -> None:
    """Print the mean distance from the quantised network's logits after numbers of steps."""
    print('\n| case | read-out | ' + ' | '.join(f'T={steps}' for steps in mst.STEPS) + ' |')
    print('|---|---|' + '--:|' * len(mst.STEPS))
    for name in mst.SPIKING_CASES:
        for output, values in mst.distances(name).items():
            print(f'| {name} | {output} | ' + ' | '.join(f'{v:.3f}' for v in values) + ' |')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('family', choices=['sdt', 'mst'])
    if parser.parse_args().family == 'sdt':
        print_differences(
            (SDTV3_CASES, compare_sdtv3),
            (DENSE_CASES, compare_dense),
            (EVENT_CASES, compare_sdtv3_events),
            (SDT_CASES, compare_sdt),
        )
    else:
        print_differences((mst.CASES, mst.compare), (mst.SPIKING_CASES, mst.compare_spiking))
        print_distances()
