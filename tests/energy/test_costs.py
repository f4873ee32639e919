import pytest

from mmspike.energy import CostTable, get_costs


def test_default_table():
    costs = get_costs()
    assert (costs.name, costs.mac_pj, costs.ac_pj, costs.shift_pj) == ('45nm', 4.6, 0.9, 0.03)
    assert 'Horowitz' in costs.source
    assert get_costs(costs) is costs


def test_own_table():
    costs = get_costs(dict(mac_pj=2, ac_pj=0.5))
    assert costs == CostTable('custom', 2, 0.5)


@pytest.mark.parametrize(
    ('costs', 'error', 'message'),
    [
        ('7nm', ValueError, "unknown costs '7nm'; known are 45nm"),
        (dict(mac_pj=1), ValueError, r"missing: \['ac_pj'\]"),
        (dict(mac_pj=1, ac_pj=1, acs=2), ValueError, r"unknown: \['acs'\]"),
        (dict(mac_pj=1, ac_pj=0), ValueError, 'ac_pj must be finite and above 0'),
        (dict(mac_pj=1, ac_pj=1, shift_pj=0), ValueError, 'shift_pj must be finite and above 0'),
        (dict(mac_pj='4', ac_pj=1), TypeError, "mac_pj must be a number, got '4'"),
        (3, TypeError, 'costs must be a name, a dict or a CostTable'),
    ],
)
def test_bad_tables(costs, error, message):
    with pytest.raises(error, match=message):
        get_costs(costs)
