import math

import pytest
import torch

from mmspike.neurons import IF, LIF


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
    ('options', 'currents', 'spikes', 'voltages'),
    [
        (dict(), [1.5, 1.25, -0.5, 3.0], [0, 1, 0, 1], [0.75, 0.0, -0.25, 0.0]),
        (dict(decay_input=False), [0.75, 0.625, -0.5, 1.5], [0, 1, 0, 1], [0.75, 0.0, -0.5, 0.0]),
        (dict(v_reset=None), [1.5, 1.5, 0.0, 2.0], [0, 1, 0, 1], [0.75, 0.125, 0.0625, 0.03125]),
        (dict(v_reset=0.5), [0.5, 0.75, -1.0, 0.0], [0, 1, 0, 0], [0.75, 0.5, 0.0, 0.25]),
        (
            dict(v_reset=-0.5, decay_input=False),
            [1.0, 0.5, 1.0, 0.0],
            [0, 0, 1, 0],
            [0.5, 0.5, -0.5, -0.5],
        ),
        (
            dict(tau=4.0, threshold=0.5, v_reset=None, decay_input=False),
            [0.5, 2.0, 0.0, 0.0],
            [1, 1, 1, 0],
            [0.0, 1.5, 0.625, 0.46875],
        ),
    ],
)
def test_trajectories_worked_by_hand(options, currents, spikes, voltages):
    assert trajectory(LIF(**options), currents) == (spikes, voltages)
    assert LIF(timesteps=4, **options)(torch.tensor(currents)).tolist() == spikes


def test_fires_exactly_at_the_threshold():
    below = math.nextafter(2.0, 0)
    x = torch.tensor([2.0, below], dtype=torch.float64)
    assert LIF(tau=2.0)(x).tolist() == [1, 0]


# x / tau is exactly 1 here, but x * (1 / tau) falls one ulp short of it.
@pytest.mark.parametrize(
    ('tau', 'dtype'), [(41.0, torch.float32), (47.0, torch.float32), (49.0, torch.float64)]
)
def test_fires_exactly_at_the_threshold_for_every_tau(tau, dtype):
    assert LIF(tau=tau)(torch.tensor([tau], dtype=dtype)).item() == 1


@pytest.mark.parametrize('v_reset', [None, 0.0, 0.25, -0.5])
def test_decays_to_its_rest_potential(v_reset):
    _, voltages = trajectory(LIF(tau=2.0, v_reset=v_reset), [1.0] + [0.0] * 40)
    rest = v_reset or 0.0
    assert abs(voltages[0] - rest) >= 0.5
    assert voltages[-1] == pytest.approx(rest, abs=1e-6)


def test_without_spikes_it_is_a_geometric_filter():
    tau, currents = 3.0, [0.3, -0.2, 0.6, 0.1]
    _, voltages = trajectory(LIF(tau=tau, threshold=100.0), currents)
    expected = sum(x / tau * (1 - 1 / tau) ** (3 - t) for t, x in enumerate(currents))
    assert voltages[-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('decay_input', [True, False])
def test_with_tau_one_it_forgets_every_step(decay_input):
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    neuron = LIF(tau=1, timesteps=3, decay_input=decay_input, v_reset=None)
    assert torch.equal(neuron(x), (x >= 1).float())


def test_without_input_decay_and_a_huge_tau_it_is_an_if_neuron():
    x = torch.randn(14, 9, generator=torch.Generator().manual_seed(0))
    options = dict(timesteps=7, v_reset=None)
    assert torch.equal(LIF(tau=1e9, decay_input=False, **options)(x), IF(**options)(x))


def test_defaults_are_those_of_the_spike_driven_transformer():
    # One step: v = x / 2 = 1 lies on the threshold, where sigmoid with alpha 4 has slope 1.
    x = torch.tensor([2.0], requires_grad=True)
    out = LIF()(x)
    out.backward()
    assert out.item() == 1
    assert x.grad.item() == 0.5
    assert trajectory(LIF(), [2.0, 1.0]) == ([1, 0], [0.0, 0.5])


@pytest.mark.parametrize(
    ('detach_reset', 'through_the_reset'), [(True, 0.0), (False, -0.25 * 0.07065082485316443)]
)
def test_gradient_through_the_reset_worked_by_hand(detach_reset, through_the_reset):
    # The first step fires on the threshold (slope 1): dv/dh is 0 detached and (0 - 1) * 1 else.
    # The second sits at v = 0, where the sigmoid's slope is 4 * s * (1 - s) with s = sigmoid(-4).
    x = torch.tensor([2.0, 0.0], dtype=torch.float64, requires_grad=True)
    LIF(timesteps=2, detach_reset=detach_reset)(x)[1].backward()
    expected = [through_the_reset, 0.5 * 0.07065082485316443]
    assert x.grad.tolist() == pytest.approx(expected, rel=1e-12)


# rectangular with alpha 1 has slope 1 within half a unit of the threshold. The loss is
# spike[0] + 2 * spike[1]; neither step fires.
@pytest.mark.parametrize(
    ('decay_input', 'currents', 'expected'),
    [(True, [1.5, 0.5], [1.0, 1.0]), (False, [0.75, 0.5], [2.0, 2.0])],
)
def test_gradient_through_the_leak_worked_by_hand(decay_input, currents, expected):
    x = torch.tensor(currents, requires_grad=True)
    neuron = LIF(timesteps=2, decay_input=decay_input, surrogate='rectangular')
    out = neuron(x)
    out.backward(torch.tensor([1.0, 2.0]))
    assert out.tolist() == [0, 0]
    assert x.grad.tolist() == expected


@pytest.mark.parametrize('tau', [0.999, 0, -2.0, math.nan])
def test_bad_time_constants(tau):
    with pytest.raises(ValueError, match=f'tau must be finite and at least 1, got {tau!r}'):
        LIF(tau=tau)
