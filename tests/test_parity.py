"""The tables of docs/parity.md; the tests of each family make the comparisons themselves."""

import pytest

from support import parity_page
from support.parity import FAMILIES, agrees, family_of
from support.reference_cases import Case, cases
from support.spiking_distances import reference_distances

PAGE = parity_page.PAGE.read_text()


def test_each_case_has_a_family_and_a_place_on_the_page():
    assert sorted(parity_page.listed_cases(PAGE)) == cases()
    assert {family_of(name) for name in cases()} == set(FAMILIES.values())


@pytest.mark.parametrize('name', cases())
def test_page_lists_what_is_compared_and_each_number_is_below_the_limit(name):
    rows = parity_page.read_differences(PAGE).get(name, [])
    expected = list(Case.load(name).quantities())
    assert [row.quantity for row in rows] == expected, f'run: make parity ARGS={name}'
    assert [row for row in rows if not agrees(name, row)] == []


def test_distances_of_spiking_networks_are_those_of_the_reference():
    page = parity_page.read_distances(PAGE)
    assert list(page) == cases('mst_snn')
    for name, readouts in page.items():
        for readout, expected in reference_distances(name).items():
            assert readouts[readout] == pytest.approx(expected, abs=3e-3), (name, readout)


def test_written_and_read_again_the_page_is_the_same():
    differences = parity_page.read_differences(PAGE)
    gaps = parity_page.read_distances(PAGE)
    assert parity_page.write(PAGE, differences, gaps) == PAGE
    first = differences['sdt_v1_dvs'][0]
    first.absolute, first.relative = 0.25, 1e-7
    gaps['mst_snn_cifar10_w7']['cumulative_mean'] = [0.1, 0.25, 0.5, 0.75]
    changed = parity_page.write(PAGE, differences, gaps)
    new, old = (set(page.splitlines()) for page in (changed, PAGE))
    assert sorted(new - old) == [
        '| mst_snn_cifar10_w7 | cumulative_mean | 0.100 | 0.250 | 0.500 | 0.750 |',
        f'| sdt_v1_dvs | {first.quantity} | 2.5e-01 | 1.0e-07 |',
    ]
