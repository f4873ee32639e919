from fractions import Fraction

import numpy as np
import pytest

from mmspike.checks import check_integer, check_number
from mmspike.neurons import LIF


@pytest.mark.parametrize(
    'value', [2, 2.0, np.float64(2), np.float32(2), np.float16(2), np.int64(2), Fraction(2)]
)
def test_numbers_of_any_precision(value):
    checked = check_number('tau', value, above=1)
    assert type(checked) is float
    assert checked == 2
    assert LIF(tau=value).tau == 2


@pytest.mark.parametrize('value', [True, np.bool_(True), '2', None, np.array([2.0]), 2j])
def test_what_is_no_number(value):
    with pytest.raises(TypeError, match='tau must be a number'):
        check_number('tau', value)


@pytest.mark.parametrize('value', [4, np.int64(4), np.uint8(4)])
def test_integers_of_any_size(value):
    assert type(check_integer('n', value, at_least=1)) is int
    assert LIF(timesteps=value).timesteps == 4


@pytest.mark.parametrize('value', [4.0, np.float32(4), True, np.bool_(True), '4'])
def test_what_is_no_integer(value):
    with pytest.raises(TypeError, match='n must be an int'):
        check_integer('n', value, at_least=1)


def test_bounds_hold_for_numpy():
    with pytest.raises(ValueError, match='tau must be finite and above 1'):
        check_number('tau', np.float32('nan'), above=1)
    with pytest.raises(ValueError, match='n must be at least 1, got 0'):
        check_integer('n', np.int8(0), at_least=1)
