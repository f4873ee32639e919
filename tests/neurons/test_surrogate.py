import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmengine import ConfigDict

from mmspike.neurons.surrogate import DERIVATIVES, Surrogate, get_surrogate, spike

NAMES = ('sigmoid', 'atan', 'rectangular', 'triangular')


def primitive(name: str, u: float, alpha: float) -> float:
    """The smooth step whose derivative the surrogate is, from 0 to 1."""
    if name == 'sigmoid':
        return 1 / (1 + math.exp(-alpha * u))
    if name == 'atan':
        return math.atan(math.pi / 2 * alpha * u) / math.pi + 0.5
    if name == 'rectangular':
        return min(max(alpha * u + 0.5, 0.0), 1.0)
    z = min(max(alpha * u, -1.0), 1.0)
    return 0.5 + z - z * abs(z) / 2


def kinks(name: str, alpha: float) -> list[float]:
    edge = {'rectangular': 0.5 / alpha, 'triangular': 1 / alpha}.get(name)
    return [] if edge is None else [-edge, 0.0, edge]


def derivative(name: str, u: list[float], alpha: float) -> torch.Tensor:
    return Surrogate(name, alpha).derivative(torch.tensor(u, dtype=torch.float64))


def test_these_tests_cover_every_surrogate():
    assert set(NAMES) == set(DERIVATIVES)


@given(st.sampled_from(NAMES), st.floats(0.25, 8), st.floats(-3, 3))
@settings(deadline=None, max_examples=60)
def test_derivative_is_that_of_the_primitive_function(name, alpha, u):
    h = 1e-5
    assume(all(abs(u - kink) > 2 * h for kink in kinks(name, alpha)))
    numerical = (primitive(name, u + h, alpha) - primitive(name, u - h, alpha)) / (2 * h)
    assert derivative(name, [u], alpha).item() == pytest.approx(numerical, abs=1e-7)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('alpha', [0.5, 1.0, 4.0])
def test_integrates_to_one(name, alpha):
    u = torch.linspace(-500, 500, 1_000_001, dtype=torch.float64)
    area = torch.trapezoid(Surrogate(name, alpha).derivative(u), u)
    assert area.item() == pytest.approx(1, abs=1e-2)


@given(st.sampled_from(NAMES), st.floats(0.25, 8), st.floats(0, 5))
@settings(deadline=None, max_examples=30)
def test_is_even_and_largest_at_the_threshold(name, alpha, u):
    left, centre, right = derivative(name, [-u, 0.0, u], alpha)
    assert left.item() == pytest.approx(right.item(), rel=1e-12)
    assert 0 <= right <= centre


@pytest.mark.parametrize('name', NAMES)
def test_peak_is_one_with_the_default_width(name):
    assert get_surrogate(name).derivative(torch.zeros(1)).item() == 1


@pytest.mark.parametrize(
    ('name', 'u', 'alpha', 'expected'),
    [
        ('sigmoid', 0.25, 4.0, 4 * 0.731058578630005 * 0.268941421369995),
        ('atan', 1 / math.pi, 2.0, 0.5),
        ('rectangular', 0.2499, 2.0, 2.0),
        ('triangular', 0.25, 2.0, 1.0),
    ],
)
def test_values_worked_by_hand(name, u, alpha, expected):
    assert derivative(name, [u, -u], alpha).tolist() == pytest.approx([expected] * 2, rel=1e-12)


def test_rectangular_is_zero_exactly_at_its_edges():
    inside = math.nextafter(0.25, 0)
    values = derivative('rectangular', [-0.25, -inside, inside, 0.25], 2.0)
    assert values.tolist() == [0, 2, 2, 0]


def test_triangular_is_zero_from_its_corners_on():
    assert derivative('triangular', [-1.0, -0.5, 0.5, 0.75], 2.0).tolist() == [0, 0, 0, 0]


def test_spike_fires_at_the_threshold_and_not_one_ulp_below():
    below = math.nextafter(0.0, -1.0)
    u = torch.tensor([-1.0, below, -0.0, 0.0, -below, 1.0], dtype=torch.float64)
    assert spike(u, get_surrogate('atan')).tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_spike_keeps_shape_and_dtype(dtype):
    out = spike(torch.zeros(2, 0, 3, dtype=dtype), get_surrogate('sigmoid'))
    assert out.dtype == dtype
    assert out.shape == (2, 0, 3)


@pytest.mark.parametrize('name', NAMES)
def test_backward_scales_the_incoming_gradient(name):
    u = torch.tensor([-0.4, 0.0, 0.1, 0.3], dtype=torch.float64, requires_grad=True)
    incoming = torch.tensor([2.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    spike(u, get_surrogate(dict(type=name, alpha=1.5))).backward(incoming)
    torch.testing.assert_close(u.grad, incoming * derivative(name, u.tolist(), 1.5))


@pytest.mark.parametrize(
    ('name', 'alpha'), [('sigmoid', 4.0), ('atan', 2.0), ('rectangular', 1.0), ('triangular', 1.0)]
)
def test_a_name_means_its_default_width(name, alpha):
    assert get_surrogate(name) == Surrogate(name, alpha)
    assert get_surrogate(dict(type=name)) == Surrogate(name, alpha)


def test_a_config_sets_the_width_and_is_not_changed():
    spec = ConfigDict(type='atan', alpha=3)
    assert get_surrogate(spec) == Surrogate('atan', 3.0)
    assert spec == dict(type='atan', alpha=3)


def test_a_surrogate_is_taken_as_it_is():
    surrogate = Surrogate('triangular', 0.3)
    assert get_surrogate(surrogate) is surrogate


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ('arctan', "unknown surrogate 'arctan'; known are sigmoid, atan, rectangular, triangular"),
        (dict(type='relu'), "unknown surrogate 'relu'"),
        (dict(alpha=2.0), 'unknown surrogate None'),
        (dict(type='atan', beta=2, gamma=1), r"'atan' takes alpha alone, got also \['beta', 'g"),
        (
            dict(type='atan', alpha=0),
            "alpha of surrogate 'atan' must be positive .*, got 0.0",
        ),
        (dict(type='sigmoid', alpha=-4), "'sigmoid' must be positive and finite, got -4.0"),
        (dict(type='sigmoid', alpha=math.nan), "'sigmoid' must be positive and finite, got nan"),
        (dict(type='atan', alpha=math.inf), "'atan' must be .*got inf"),
        (None, 'unknown surrogate None'),
    ],
)
def test_bad_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        get_surrogate(spec)
