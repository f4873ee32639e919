import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmspike.utils import spike_sums
from mmspike.utils.spike_sums import Tally, count_active, count_spikes

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    dtype=st.sampled_from(DTYPES),
    levels=st.sampled_from([(1, 1), (4, 4), (7, 5), (16, 1), (8, 0.7)]),
    data=st.data(),
)
def test_spikes_along_a_dimension(shape, dtype, levels, data):
    most, norm = levels
    fired = torch.randint(0, most + 1, shape, dtype=torch.float64)
    x = (fired / norm).to(dtype)
    dim = data.draw(st.integers(0, len(shape) - 1))
    sums = count_spikes(x, dim, 1 / norm)
    assert sums.dtype == torch.float64
    assert torch.equal(sums, fired.sum(dim))
    assert count_active(x) == fired.count_nonzero()


def test_more_spikes_than_half_precision_holds():
    x = torch.ones(2, 70_000, dtype=torch.float16)
    assert count_spikes(x, 1).tolist() == [70_000, 70_000]
    assert count_active(x) == 140_000


def number(value):
    return torch.tensor(float(value), dtype=torch.float64)


def test_tally_adds_by_name_and_by_how_often():
    tally = Tally()
    for batch in range(3):
        tally.add('a', number(batch))
        tally.add('b', number(10), times=4)
        tally.add('a', number(1))
        tally.settle()
    tally.add('b', number(0.5))  # a batch that ended early
    assert tally.read() == tally.read() == {'a': 6.0, 'b': 120.5}
    tally.add('c', number(1))
    assert tally.read() == {'a': 6.0, 'b': 120.5, 'c': 1.0}
    tally.clear()
    assert tally.read() == {}


def test_tally_is_exact_where_float32_is_not():
    tally = Tally()
    for value in (2**40, 1, 1):
        tally.add('a', number(value), times=3)
        tally.settle()
    assert tally.read() == {'a': 3 * 2**40 + 6}


def test_tally_keeps_little_whatever_comes(monkeypatch):
    """No batch ends, and no two sequences are the same."""
    monkeypatch.setattr(spike_sums, '_MOST_WAITING', 7)
    monkeypatch.setattr(spike_sums, '_MOST_SEQUENCES', 3)
    tally = Tally()
    for i in range(100):
        tally.add(i % 13, number(i), times=i % 3)
        assert sum(len(keys) for keys, _ in tally._waiting.values()) < 7
        assert len(tally._sums) <= 3
    expected = {}
    for i in range(100):
        expected[i % 13] = expected.get(i % 13, 0) + i * (i % 3)
    assert tally.read() == expected


@pytest.mark.parametrize('sizes', [(2, 3), (5,)])
def test_reading_does_not_depend_on_when_it_is_done(sizes):
    whole, parts = Tally(), Tally()
    for size in sizes:
        for value in range(size):
            whole.add(value, number(value))
            parts.add(value, number(value))
        parts.read()
    assert whole.read() == parts.read()
