import math

import pytest
import torch

from mmspike.neurons import IF, LIF, PLIF
from mmspike.neurons.surrogate import Surrogate


def trajectory(neuron, currents):
    """Spikes and membrane potentials of one neuron, step by step."""
    neuron.stateful = True
    spikes, voltages = [], []
    for current in currents:
        spikes.append(neuron(torch.tensor([current])).item())
        voltages.append(neuron.v.item())
    return spikes, voltages


# All numbers are sums of powers of two: exact in float32, thresholds are hit exactly.
@pytest.mark.parametrize(
    ('options', 'spikes', 'voltages'),
    [
        (dict(), [0, 1, 0, 1], [0.5, 0.0, -0.25, 0.0]),
        (dict(v_reset=None), [0, 1, 0, 1], [0.5, 0.25, 0.0, 0.25]),
        (dict(v_reset=-0.5), [0, 0, 0, 1], [0.0, 0.75, 0.5, -0.5]),
        (dict(v_reset=0.25), [0, 1, 0, 1], [0.75, 0.25, 0.0, 0.25]),
        (dict(v_reset=None, threshold=0.5), [1, 1, 0, 1], [0.0, 0.25, 0.0, 0.75]),
        (dict(threshold=2.0), [0, 0, 0, 1], [0.5, 1.25, 1.0, 0.0]),
    ],
)
def test_trajectories_worked_by_hand(options, spikes, voltages):
    currents = [0.5, 0.75, -0.25, 1.25]
    assert trajectory(IF(**options), currents) == (spikes, voltages)
    assert IF(timesteps=4, **options)(torch.tensor(currents)).tolist() == spikes


def test_fires_exactly_at_the_threshold():
    below = math.nextafter(1.0, 0)
    x = torch.tensor([1.0, below], dtype=torch.float64)
    assert IF()(x).tolist() == [1, 0]


def test_soft_reset_keeps_the_surplus_for_later_steps():
    spikes, voltages = trajectory(IF(v_reset=None), [2.5, 0.0, 0.0])
    assert spikes == [1, 1, 0]
    assert voltages == [1.5, 0.5, 0.5]


def test_hard_reset_drops_the_surplus():
    spikes, voltages = trajectory(IF(v_reset=0.0), [2.5, 0.0, 0.5])
    assert spikes == [1, 0, 0]
    assert voltages == [0.0, 0.0, 0.5]


def test_without_a_spike_the_charge_is_kept_for_ever():
    spikes, voltages = trajectory(IF(), [0.5] + [0.0] * 50)
    assert sum(spikes) == 0
    assert voltages[-1] == 0.5


# rectangular with alpha 1 has slope 1 within half a unit of the threshold. The loss is
# spike[0] + 2 * spike[1].
@pytest.mark.parametrize(
    ('currents', 'options', 'expected'),
    [
        ([0.75, 0.5], dict(v_reset=0.0, detach_reset=True), [3.0, 2.0]),
        ([0.75, 0.5], dict(v_reset=0.0, detach_reset=False), [1.5, 2.0]),
        ([0.75, 0.5], dict(v_reset=None, detach_reset=True), [3.0, 2.0]),
        ([0.75, 0.5], dict(v_reset=None, detach_reset=False), [1.0, 2.0]),
        ([1.25, 0.75], dict(v_reset=0.0, detach_reset=True), [1.0, 2.0]),
        ([1.25, 0.75], dict(v_reset=0.0, detach_reset=False), [-1.5, 2.0]),
        ([1.25, 0.75], dict(v_reset=None, detach_reset=True), [3.0, 2.0]),
        ([1.25, 0.75], dict(v_reset=None, detach_reset=False), [1.0, 2.0]),
    ],
)
def test_gradients_worked_by_hand(currents, options, expected):
    x = torch.tensor(currents, requires_grad=True)
    out = IF(timesteps=2, surrogate='rectangular', **options)(x)
    out.backward(torch.tensor([1.0, 2.0]))
    assert x.grad.tolist() == expected


def test_the_reset_is_detached_by_default():
    grads = []
    for options in (dict(), dict(detach_reset=True), dict(detach_reset=False)):
        x = torch.tensor([1.25, 0.75], requires_grad=True)
        IF(timesteps=2, **options)(x).sum().backward()
        grads.append(x.grad.tolist())
    assert grads[0] == grads[1] != grads[2]


@pytest.mark.parametrize('cls', [IF, LIF, PLIF])
@pytest.mark.parametrize(
    'surrogate', ['atan', dict(type='atan', alpha=2.0), Surrogate('atan', 2.0)]
)
def test_surrogate_choice(cls, surrogate):
    neuron = cls(surrogate=surrogate)
    assert neuron.surrogate == Surrogate('atan', 2.0)
    x = torch.tensor([0.5], requires_grad=True)
    neuron(x).backward()
    slope = 1.0 if cls is IF else 0.5
    u = 0.5 * slope - 1
    assert x.grad.item() == pytest.approx(slope / (1 + (math.pi * u) ** 2), rel=1e-6)


@pytest.mark.parametrize('cls', [IF, LIF, PLIF])
def test_one_spike_is_worth_one(cls):
    assert cls(threshold=0.5).spike_value == 1


@pytest.mark.parametrize('cls', [IF, LIF, PLIF])
@pytest.mark.parametrize('threshold', [0, -1.0, math.nan, math.inf])
def test_bad_thresholds(cls, threshold):
    with pytest.raises(ValueError, match=f'threshold must be .* above 0, got {threshold!r}'):
        cls(threshold=threshold)


@pytest.mark.parametrize('cls', [IF, LIF, PLIF])
@pytest.mark.parametrize('threshold', ['1', None, True])
def test_thresholds_that_are_no_numbers(cls, threshold):
    with pytest.raises(TypeError, match=f'threshold must be a number, got {threshold!r}'):
        cls(threshold=threshold)


@pytest.mark.parametrize('cls', [IF, LIF, PLIF])
@pytest.mark.parametrize('v_reset', [1.0, 1.5, math.nan, -math.inf])
def test_bad_reset_potentials(cls, v_reset):
    with pytest.raises(ValueError, match=f'v_reset.*{v_reset!r}'):
        cls(threshold=1.0, v_reset=v_reset)


@pytest.mark.parametrize('cls', [IF, LIF, PLIF])
def test_unknown_surrogate(cls):
    with pytest.raises(ValueError, match="unknown surrogate 'relu'; known are sigmoid, atan"):
        cls(surrogate='relu')
