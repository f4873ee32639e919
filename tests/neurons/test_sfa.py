import math
import re

import pytest
import torch

from mmspike.neurons import ILIF, SFA

INTEGERS = [SFA, ILIF]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
HALVES = [-0.5, 0.0, 0.5, 1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(
    ('rounding', 'expected'),
    [('half_even', [0, 0, 0, 2, 2, 4, 4]), ('half_up', [0, 0, 1, 2, 3, 4, 4])],
)
def test_exact_halves(dtype, rounding, expected):
    neuron = SFA(D=4, norm=1, rounding=rounding)
    assert neuron(torch.tensor(HALVES, dtype=dtype)).tolist() == expected


@pytest.mark.parametrize('rounding', ['half_even', 'half_up'])
def test_away_from_halves_the_roundings_agree(rounding):
    x = torch.tensor([-3.0, -0.51, 0.49, 0.51, 1.49, 1.51, 2.0, 3.49, 3.51, 9.0])
    expected = [0, 0, 0, 1, 1, 2, 2, 3, 4, 4]
    assert SFA(D=4, norm=1, rounding=rounding)(x).tolist() == expected


def test_rounds_to_even_by_default():
    assert SFA(D=4, norm=1)(torch.tensor([0.5, 2.5])).tolist() == [0, 2]


@pytest.mark.parametrize(
    ('D', 'norm', 'expected'),
    [
        (4, None, [0, 0.25, 0.5, 1.0]),
        (4, 1, [0, 1, 2, 4]),
        (4, 8, [0, 0.125, 0.25, 0.5]),
        (8, None, [0, 0.125, 0.25, 1.0]),
        (1, None, [0, 1, 1, 1]),
    ],
)
def test_the_output_is_divided_by_norm(D, norm, expected):
    neuron = SFA(D=D, norm=norm)
    assert neuron(torch.tensor([0.1, 1.2, 2.0, 50.0])).tolist() == expected
    assert neuron.spike_value == 1 / (norm or D)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(
    ('grad_window', 'expected'), [('inclusive', [0, 1, 1, 1, 0]), ('strict', [0, 0, 1, 0, 0])]
)
def test_the_ends_of_the_gradient_window(dtype, grad_window, expected):
    tiny, ulp = torch.finfo(dtype).tiny, 4 * torch.finfo(dtype).eps
    x = torch.tensor([-tiny, 0.0, 0.5, 4.0, 4.0 + ulp], dtype=dtype, requires_grad=True)
    assert x[4] > 4
    SFA(D=4, norm=1, grad_window=grad_window)(x).sum().backward()
    assert x.grad.tolist() == expected


def test_negative_zero_is_an_end_of_the_window_too():
    grads = []
    for grad_window in ('inclusive', 'strict'):
        x = torch.tensor([-0.0], requires_grad=True)
        SFA(norm=1, grad_window=grad_window)(x).backward()
        grads.append(x.grad.item())
    assert grads == [1, 0]


def test_the_gradient_is_divided_by_norm():
    x = torch.tensor([0.2, 3.3, 5.0], requires_grad=True)
    SFA(D=4)(x).backward(torch.tensor([1.0, -2.0, 3.0]))
    assert x.grad.tolist() == [0.25, -0.5, 0]


def test_the_window_is_inclusive_by_default():
    x = torch.zeros(3, requires_grad=True)
    SFA(D=4)(x).sum().backward()
    assert x.grad.tolist() == [0.25] * 3


@pytest.mark.parametrize('stateful', [False, True])
def test_every_step_is_on_its_own(stateful):
    x = 3 * torch.randn(14, 3, generator=torch.Generator().manual_seed(0))
    expected = SFA()(x)
    neuron = SFA(timesteps=7, stateful=stateful)
    assert torch.equal(neuron(x), expected)
    assert torch.equal(neuron(x), expected)
    assert neuron(x[:7, :2]).shape == (7, 2)


def test_infinities_saturate():
    assert SFA(D=4, norm=1)(torch.tensor([-math.inf, math.inf])).tolist() == [0, 4]


@pytest.mark.parametrize('cls', INTEGERS)
@pytest.mark.parametrize('D', [0, -4])
def test_non_positive_d(cls, D):
    with pytest.raises(ValueError, match=f'D must be finite and at least 1, got {D}$'):
        cls(D=D)


@pytest.mark.parametrize('cls', INTEGERS)
@pytest.mark.parametrize('D', [4.0, '4', True, None])
def test_d_that_is_no_integer(cls, D):
    message = re.escape(f'D must be an int, got {D!r} ({type(D).__name__})')
    with pytest.raises(TypeError, match=message):
        cls(D=D)


@pytest.mark.parametrize('cls', INTEGERS)
@pytest.mark.parametrize('norm', [0, -1.0, math.nan, math.inf])
def test_bad_norm(cls, norm):
    with pytest.raises(ValueError, match=f'norm must be finite and above 0, got {norm!r}'):
        cls(norm=norm)


@pytest.mark.parametrize('cls', INTEGERS)
@pytest.mark.parametrize('rounding', ['half_down', None])
def test_unknown_rounding(cls, rounding):
    message = re.escape(f"rounding must be one of ('half_even', 'half_up'), got {rounding!r}")
    with pytest.raises(ValueError, match=message):
        cls(rounding=rounding)


@pytest.mark.parametrize('cls', INTEGERS)
@pytest.mark.parametrize('grad_window', ['open', None])
def test_unknown_gradient_window(cls, grad_window):
    message = re.escape(f"grad_window must be one of ('inclusive', 'strict'), got {grad_window!r}")
    with pytest.raises(ValueError, match=message):
        cls(grad_window=grad_window)


def test_another_largest_integer_in_evaluation():
    """What the reference's detectors do in their neck; only by name."""
    x = torch.tensor([-1.0, 0.4, 0.6, 2.6, 9.0])
    neuron = SFA(norm=1, eval_D=1)
    assert neuron(x).tolist() == [0, 0, 1, 3, 4]
    assert neuron.eval()(x).tolist() == [0, 0, 1, 1, 1]
    assert SFA(norm=1).eval()(x).tolist() == [0, 0, 1, 3, 4]
    assert neuron.describe()['eval_D'] == 1
    assert 'eval_D' not in SFA().describe()
    with pytest.raises(ValueError, match='eval_D must be finite and at least 1, got 0'):
        SFA(eval_D=0)


class _RoundedClamp(torch.autograd.Function):
    """What SDT v3's neuron for event cameras fires: gradient 1 from 0 to 4, ends included."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return v.clamp(0, 4).round()

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad * ((v >= 0) & (v <= 4))


def fire_events_neuron(x, v):
    """One call: the whole tensor, all time steps, is one addition to the membrane."""
    v = v + x
    spikes = _RoundedClamp.apply(v)
    return spikes, v - spikes


def test_it_is_the_integrating_neuron_of_the_event_models_within_a_call():
    x = torch.cat([torch.tensor([*HALVES, -0.0, 1.0, 4.0, 9.0]), 3 * torch.randn(200)])
    # Membranes of two calls: each call begins after a reset.
    for current in (x, x.flip(0)):
        inputs = [current.clone().requires_grad_() for _ in range(2)]
        spikes, rest = fire_events_neuron(inputs[0], 0.0)
        ours = SFA(D=4, norm=1)(inputs[1])
        assert torch.equal(ours, spikes)
        cotangent = torch.randn_like(current)
        spikes.backward(cotangent)
        ours.backward(cotangent)
        assert torch.equal(inputs[1].grad, inputs[0].grad)
    # Without the reset, the rest of the first call would be in the second.
    assert not torch.equal(fire_events_neuron(x, rest.detach())[0], SFA(D=4, norm=1)(x))
