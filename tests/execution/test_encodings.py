"""Integers as slots of few values, by arithmetic that the encodings do not use."""

import copy
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmspike.execution.encodings import BITWISE, ENCODINGS, TERNARY, THERMOMETER, get_encoding

MOST = [*range(1, 18), 31, 100]
each = pytest.mark.parametrize('encoding', ENCODINGS.values(), ids=ENCODINGS)


def numbers(most, dtype=torch.float32):
    return torch.arange(most + 1, dtype=dtype)


@each
@pytest.mark.parametrize('most', MOST)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_slots_sum_up_to_every_integer(encoding, most, dtype):
    counts = numbers(most, dtype)
    slots = list(encoding.slots(counts, most))
    weights = encoding.weights(most)
    assert len(slots) == len(weights)
    assert weights[0] == 1
    assert {slot.dtype for slot in slots} == {dtype}
    assert set(torch.stack(slots).unique().tolist()) <= set(encoding.values)
    total = sum(weight * slot.double() for weight, slot in zip(weights, slots, strict=True))
    assert total.tolist() == list(range(most + 1))
    # None of the slots is always empty.
    assert all(slot.any() for slot in slots)


@pytest.mark.parametrize(
    ('encoding', 'slots'),
    [
        (THERMOMETER, dict.fromkeys([1, 2, 3, 4, 8, 15])),
        (BITWISE, {1: 1, 2: 2, 3: 2, 4: 3, 7: 3, 8: 4, 15: 4, 16: 5}),
        (TERNARY, {1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 4, 8: 4, 10: 4, 11: 5, 15: 5, 16: 5}),
    ],
    ids=ENCODINGS,
)
def test_number_of_slots(encoding, slots):
    for most, expected in slots.items():
        assert len(encoding.weights(most)) == (expected or most)


def test_ternary_digits_by_hand():
    """7 = 8 - 1, 11 = 16 - 4 - 1, 13 = 16 - 4 + 1, 15 = 16 - 1; the digit of 1 comes first."""
    slots = torch.stack(list(TERNARY.slots(torch.tensor([7.0, 11, 13, 15]), 15)), 1)
    assert slots.tolist() == [[-1, 0, 0, 1, 0], [-1, 0, -1, 0, 1], [1, 0, -1, 0, 1],
                              [-1, 0, 0, 0, 1]]  # fmt: skip


def fewest_terms(most):
    """Fewest signed powers of two that add up to each integer, by search."""
    powers = [sign * 2**k for k in range(most.bit_length() + 2) for sign in (1, -1)]
    terms, reached = {0: 0}, {0}
    while not all(n in terms for n in range(most + 1)):
        reached = {n + power for n in reached for power in powers}
        step = max(terms.values()) + 1
        for n in reached:
            terms.setdefault(n, step)
    return [terms[n] for n in range(most + 1)]


@pytest.mark.parametrize('most', MOST)
def test_spikes_of_every_integer(most):
    counts = numbers(most)
    assert THERMOMETER.spikes(counts, most).tolist() == list(range(most + 1))
    assert BITWISE.spikes(counts, most).tolist() == [bin(n).count('1') for n in range(most + 1)]
    assert TERNARY.spikes(counts, most).tolist() == fewest_terms(most)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_ternary_digits_have_no_neighbours(n, more):
    counts = torch.tensor([n], dtype=torch.float64)
    digits = [int(slot) for slot in TERNARY.slots(counts, n + more)]
    assert sum(digit * 2**k for k, digit in enumerate(digits)) == n
    assert all(not (a and b) for a, b in pairwise(digits))


@each
def test_shifts_are_those_of_slots_of_other_weights(encoding):
    expected = dict(spike=0, bitwise=3, ternary=4)[encoding.name]
    assert encoding.shifts(15) == expected
    assert encoding.shifts(1) == 0


def test_ternary_slots_save_spikes_from_seven_on():
    counts = numbers(100)
    saved = (BITWISE.spikes(counts, 100) - TERNARY.spikes(counts, 100)).tolist()
    assert min(saved) == 0
    assert next(n for n, spikes in enumerate(saved) if spikes) == 7


def test_mean_spikes_of_uniform_integers():
    """Figures of docs/execution.md."""
    for most, expected in {
        4: (2.0, 1.0, 1.0), 8: (4.0, 13 / 9, 12 / 9), 15: (7.5, 2.0, 1.75)
    }.items():  # fmt: skip
        means = (one.spikes(numbers(most), most).mean().item() for one in ENCODINGS.values())
        assert list(means) == pytest.approx(expected)


@each
def test_copies_are_the_same(encoding):
    assert copy.deepcopy(encoding) is encoding
    assert pickle.loads(pickle.dumps(encoding)) is encoding


def test_names():
    assert get_encoding('bitwise') is BITWISE
    with pytest.raises(ValueError, match=r"one of \('spike', 'bitwise', 'ternary'\), got 'unary'"):
        get_encoding('unary')
