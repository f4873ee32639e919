import math
from dataclasses import FrozenInstanceError

import pytest

from mmspike.masking import read_schedule


def ratios(value, *progress, layers=1):
    schedule = read_schedule(value)
    return [schedule.at(p, layers).tolist() for p in progress]


def test_constant():
    assert ratios(0.25, 0, 7, 10**6) == [[0.25]] * 3
    assert ratios([0.1, 0.3], 5, layers=3) == [pytest.approx([0.1, 0.2, 0.3])]


def test_step():
    value = dict(type='step', ratios=[0.0, 0.25, [0.5, 0.75]], milestones=[2, 5])
    assert ratios(value, 0, 1, 2, 4) == [[0.0], [0.0], [0.25], [0.25]]
    assert ratios(value, 5, 100, layers=2) == [[0.5, 0.75]] * 2


def test_linear():
    value = dict(type='linear', start=0.2, stop=0.6, begin=2, end=6)
    assert ratios(value, 0, 2) == [[0.2], [0.2]]
    assert ratios(value, 3, 4, 5) == [pytest.approx([r]) for r in (0.3, 0.4, 0.5)]
    assert ratios(value, 6, 100) == [[0.6], [0.6]]


def test_cosine_is_slow_at_both_ends():
    value = dict(type='cosine', stop=0.8, end=8)
    expected = [0.4 * (1 - math.cos(math.pi * p / 8)) for p in range(9)]
    assert [one for (one,) in ratios(value, *range(9))] == pytest.approx(expected)
    assert ratios(value, 4) == [pytest.approx([0.4])]
    assert ratios(value, 0, 8, 9) == [[0.0], [0.8], [0.8]]


def test_a_profile_over_depth_that_grows():
    value = dict(type='linear', stop=[0.2, 0.8], end=4)
    assert ratios(value, 2, layers=3) == [pytest.approx([0.1, 0.25, 0.4])]


@pytest.mark.parametrize(
    ('value', 'error', 'message'),
    [
        (1.0, ValueError, 'got 1.0'),
        ('0.5', TypeError, "got '0.5'"),
        (dict(stop=0.5, end=3), ValueError, "type of 'step', 'linear' or 'cosine', got"),
        (dict(type='exp', stop=0.5, end=3), ValueError, "got {'type': 'exp'"),
        (dict(type='linear', stop=0.5), TypeError, "missing .*'end'"),
        (dict(type='linear', stop=0.5, end=3, speed=1), TypeError, 'speed'),
        (dict(type='linear', stop=1, end=3), ValueError, 'got 1$'),
        (dict(type='cosine', start=-1, stop=0.5, end=3), ValueError, 'got -1'),
        (dict(type='cosine', stop=0.5, begin=3, end=3), ValueError, 'begin=3, end=3'),
        (dict(type='linear', stop=0.5, end=2.5), TypeError, 'end must be a whole number, got 2.5'),
        (dict(type='linear', stop=0.5, begin=-1, end=2), ValueError, 'must not be negative'),
        (dict(type='step', ratios=[0.5], milestones=[3]), ValueError, 'one ratio more'),
        (dict(type='step', ratios=[0, 0.1, 0.2], milestones=[3, 3]), ValueError, 'go up'),
        (dict(type='step', ratios=[0, 2], milestones=[3]), ValueError, 'got 2$'),
        (dict(type='step', ratios=[0, 0.1], milestones=['3']), TypeError, 'whole number'),
    ],
)
def test_refused(value, error, message):
    with pytest.raises(error, match=message):
        read_schedule(value)


def test_schedules_do_not_change():
    """One may be shared by several groups."""
    step = read_schedule(dict(type='step', ratios=[0.1, 0.2], milestones=[3]))
    with pytest.raises(FrozenInstanceError):
        step.milestones = [5]
