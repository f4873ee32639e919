import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.recorders import spike_sums
from mmspike.recorders.spike_sums import RunningSums, SpikeSums, count_active, sum_spikes
from support.held_tensors import numbers_held_by

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
    sums = sum_spikes(x, dim, 1 / norm)
    assert sums.dtype == torch.float64
    assert torch.equal(sums, fired.sum(dim))
    assert count_active(x) == fired.count_nonzero()


def check_sums(fired, x, spike_value):
    for backend in ('auto', 'reference'):
        with neuron_backend(backend):
            sums = SpikeSums(x, spike_value)
            assert torch.equal(sums.maps, fired.sum(min(1, x.dim() - 1)))
            assert (sums.total, sums.active) == (fired.sum(), fired.count_nonzero())
            assert {sums.maps.dtype, sums.total.dtype, sums.active.dtype} == {torch.float64}


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 3000)),
    layout=st.sampled_from(['as it is', 'last', 'sliced', 'unflattened', 'one sample']),
    dtype=st.sampled_from(DTYPES),
    levels=st.sampled_from([(1, 1), (4, 4), (7, 5), (16, 1), (8, 0.7)]),
    threads=st.integers(1, 3),
)
def test_sums_of_kernel_and_torch(shape, layout, dtype, levels, threads):
    most, norm = levels
    fired = torch.randint(0, most + 1, shape, dtype=torch.float64)
    fired *= torch.rand(shape) < 0.5
    if layout == 'last':
        fired = fired.mT
    elif layout == 'sliced':
        fired = fired[:, ::2]
    elif layout == 'unflattened':
        fired = fired.unflatten(2, (1, -1, 1))
    elif layout == 'one sample':
        fired = fired.flatten()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check_sums(fired, (fired / norm).to(dtype), 1 / norm)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize('dtype', DTYPES)
def test_every_count_of_a_wide_layer(dtype):
    """Sums that neither the dtype nor, for one position, 16 bits could hold."""
    fired = torch.randint(0, 256, (2, 1000, 70), dtype=torch.float64)
    fired[0, :, 0] = 255
    check_sums(fired, fired.to(dtype), 1.0)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('values', [[float('nan')], [float('nan')] * 2, [float('inf')]])
def test_what_is_no_number_of_spikes_is_not_hidden(values, dtype):
    x = torch.ones(2, 3, 100, dtype=dtype)
    x[1, : len(values), 7] = torch.tensor(values, dtype=dtype)
    for backend in ('auto', 'reference'):
        with neuron_backend(backend):
            sums = SpikeSums(x)
            assert not sums.total.isfinite()
            assert not sums.maps[1, 7].isfinite()
            assert sums.maps.isfinite().sum() == 199


@pytest.mark.parametrize('dtype', DTYPES)
def test_a_single_neuron_without_dimensions_is_left_alone(dtype):
    x = torch.tensor(0.75, dtype=dtype)
    sums = SpikeSums(x, 0.25)
    assert (sums.maps, sums.total, sums.active, x) == (3, 3, 1, 0.75)


def test_a_backend_that_cannot_take_the_input_is_no_obstacle():
    """To count is not to fire."""
    with neuron_backend('cpu'):
        assert SpikeSums(torch.ones(2, 3, 4, dtype=torch.float64)).total == 24


def test_more_spikes_than_half_precision_holds():
    x = torch.ones(2, 70_000, dtype=torch.float16)
    assert sum_spikes(x, 1).tolist() == [70_000, 70_000]
    assert count_active(x) == 140_000


def number(value):
    return torch.tensor(float(value), dtype=torch.float64)


def test_tally_adds_by_name_and_by_how_often():
    tally = RunningSums()
    for batch in range(3):
        tally.add('a', number(batch))
        tally.add('b', number(10), times=4)
        tally.add('a', number(1))
    tally.add('b', number(0.5))  # a batch that ended early
    assert tally.read() == tally.read() == {'a': 6.0, 'b': 120.5}
    tally.add('c', number(1))
    assert tally.read() == {'a': 6.0, 'b': 120.5, 'c': 1.0}
    tally.clear()
    assert tally.read() == {}


def test_tally_is_exact_where_float32_is_not():
    tally = RunningSums()
    for value in (2**40, 1, 1):
        tally.add('a', number(value), times=3)
    assert tally.read() == {'a': 3 * 2**40 + 6}


def test_tally_keeps_little_whatever_comes(monkeypatch):
    """No two sequences are the same."""
    monkeypatch.setattr(spike_sums, 'MOST_WAITING', 7)
    monkeypatch.setattr(spike_sums, 'MOST_SEQUENCES', 3)
    tally = RunningSums()
    for i in range(100):
        tally.add(i % 13, number(i), times=i % 3)
        # Those that wait, and a sum for each of a sequence.
        assert numbers_held_by(tally) <= 7 + 3 * 7
    expected = {}
    for i in range(100):
        expected[i % 13] = expected.get(i % 13, 0) + i * (i % 3)
    assert tally.read() == expected


@pytest.mark.parametrize('sizes', [(2, 3), (5,)])
def test_reading_does_not_depend_on_when_it_is_done(sizes):
    whole, parts = RunningSums(), RunningSums()
    for size in sizes:
        for value in range(size):
            whole.add(value, number(value))
            parts.add(value, number(value))
        parts.read()
    assert whole.read() == parts.read()
