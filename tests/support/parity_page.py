"""The tables of docs/parity.md: reading them and writing them.

Between ``<!-- parity: FAMILIES; ... -->`` and ``<!-- parity end -->`` stand the differences of all
cases of these families (see :data:`support.parity.FAMILIES`). Between ``<!-- distances; ... -->``
and ``<!-- distances end -->`` stands how far spiking networks are from quantised ones.
"""

import re

from support.paths import ROOT
from support.reference_cases import Difference, cases
from support.spiking_distances import STEPS

PAGE = ROOT / 'docs/parity.md'
DIFFERENCES = re.compile(
    r'(<!-- parity: (?P<families>[\w ]+); .*? -->\n)(?P<table>.*?)(<!-- parity end -->)', re.DOTALL
)
DISTANCES = re.compile(
    r'(<!-- distances; .*? -->\n)(?P<table>.*?)(<!-- distances end -->)', re.DOTALL
)
HEADER = (
    '| case | quantity | largest absolute difference | relative (l2) difference |\n'
    '|---|---|--:|--:|\n'
)
Differences = dict[str, list[Difference]]
Distances = dict[str, dict[str, list[float]]]


def read_differences(page: str) -> Differences:
    """The rows of all tables of differences, by case."""
    rows: Differences = {}
    for table in DIFFERENCES.finditer(page):
        for case, quantity, absolute, relative in _cells(table['table']):
            row = Difference(quantity, float(absolute), float(relative))
            rows.setdefault(case, []).append(row)
    return rows


def read_distances(page: str) -> Distances:
    """The rows of the table of distances, by case and read-out."""
    rows: Distances = {}
    for case, readout, *values in _cells(DISTANCES.search(page)['table']):
        rows.setdefault(case, {})[readout] = [float(value) for value in values]
    return rows


def listed_cases(page: str) -> list[str]:
    """The cases that belong into the tables of differences, in the order of the page."""
    return [case for table in DIFFERENCES.finditer(page) for case in _cases_of(table)]


def write(page: str, differences: Differences, distances: Distances) -> str:
    """The page with tables of these numbers."""
    page = DIFFERENCES.sub(lambda table: _filled(table, _differences(table, differences)), page)
    return DISTANCES.sub(lambda table: _filled(table, _distances(distances)), page)


def _cases_of(table: re.Match) -> list[str]:
    return [case for family in table['families'].split() for case in cases(family)]


def _differences(table: re.Match, differences: Differences) -> str:
    return HEADER + ''.join(
        f'| {case} | {row.quantity} | {row.absolute:.1e} | {row.relative:.1e} |\n'
        for case in _cases_of(table)
        for row in differences.get(case, [])
    )


def _distances(distances: Distances) -> str:
    header = '| case | read-out | ' + ' | '.join(f'T={steps}' for steps in STEPS) + ' |\n'
    return header + '|---|---|' + '--:|' * len(STEPS) + '\n' + ''.join(
        f'| {case} | {readout} | ' + ' | '.join(f'{value:.3f}' for value in values) + ' |\n'
        for case, readouts in distances.items()
        for readout, values in readouts.items()
    )  # fmt: skip


def _filled(match: re.Match, table: str) -> str:
    return f'{match[1]}\n{table}\n{match[match.lastindex]}'


def _cells(table: str) -> list[list[str]]:
    """The cells of a table's rows, header left out."""
    rows = [line.strip('| ').split(' | ') for line in table.splitlines() if line.startswith('| ')]
    return rows[1:]
