"""First weights between binary neurons."""

import math

import pytest
import torch
from torch import nn

from mmspike.layers import neuron_gain
from mmspike.neurons import IF, LIF, PLIF
from mmspike.recorders.firing_rates import FiringRateRecorder
from support.small_parts import HEADS, NECKS

LIF_CFG = dict(type='mmspike.LIF', surrogate='atan')


def test_gain_of_a_neuron_without_time():
    """It fires where the current reaches 1: a share of a normal distribution."""
    share = above(1)
    assert neuron_gain(IF()) == pytest.approx(1 / math.sqrt(share), rel=0.02)
    assert neuron_gain(LIF()) == pytest.approx(2 / math.sqrt(share), rel=0.02)
    assert neuron_gain(PLIF()) == pytest.approx(2 / math.sqrt(share), rel=0.02)


def above(x):
    """Share of a standard normal distribution above x."""
    return 0.5 * math.erfc(x / math.sqrt(2))


def test_gain_of_a_leaky_neuron_in_two_steps():
    """A current of 4/3 that stays makes it fire; so wide are the currents x of each step."""
    s = 4 / 3
    first = above(2 / s)  # x / 2 reaches 1
    # After a spike the same again; else x1 / 4 + x2 / 2 has to reach 1: a sum over x1.
    grid = [-8 + 0.001 * i for i in range(int((2 / s + 8) / 0.001))]
    density = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in grid]
    second = first * first + 0.001 * sum(
        d * above((1 - s * z / 4) * 2 / s) for z, d in zip(grid, density, strict=True)
    )
    expected = s / math.sqrt((first + second) / 2)
    assert neuron_gain(LIF(timesteps=2)) == pytest.approx(expected, rel=0.02)


def test_gain_is_proportional_to_the_threshold():
    assert neuron_gain(LIF(threshold=0.5)) == pytest.approx(neuron_gain(LIF()) / 2, rel=1e-3)


def test_a_neuron_that_cannot_fire():
    with pytest.raises(ValueError, match='does not fire within its 1 time steps'):
        neuron_gain(LIF(tau=1e5))


@pytest.mark.parametrize('neuron', [LIF, IF, PLIF])
@pytest.mark.parametrize('options', [dict(), dict(v_reset=None), dict(threshold=0.3)], ids=str)
@pytest.mark.parametrize('timesteps', [1, 2, 4])
def test_activity_is_carried_from_layer_to_layer(neuron, options, timesteps):
    torch.manual_seed(0)
    gain = neuron_gain(neuron(timesteps=timesteps, **options))
    layers = []
    for _ in range(6):
        layer = nn.Linear(256, 256, bias=False)
        nn.init.normal_(layer.weight, std=gain / 16)
        layers += [neuron(timesteps=timesteps, **options), layer]
    net = nn.Sequential(*layers)
    x = (2 * torch.randn(64, 256)).repeat(timesteps, 1)
    with FiringRateRecorder(net) as recorder, torch.no_grad():
        net(x)
    rates = [rate.rate for rate in recorder.rates()][1:]  # the input decides on the first
    assert all(0.03 < rate < 0.35 for rate in rates), rates
    assert 0.5 < rates[-1] / rates[0] < 1.5


def widths_of(module):
    return [layer.weight.std().item() for _, layer in module.spiking_layers()]


PARTS = [part for part in [*NECKS, *HEADS] if not part.name.endswith('ClsHead')]


@pytest.mark.parametrize('part', PARTS, ids=lambda part: part.name)
def test_integer_neurons_begin_with_the_weights_of_the_host(part):
    """Drawn, number for number, as they were without this initialisation."""
    states = []
    for skip in (False, True):
        torch.manual_seed(0)
        module = part.make()
        if skip:
            module.spiking_layers = lambda: iter(())
        torch.manual_seed(1)
        module.init_weights()
        states.append(module.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


@pytest.mark.parametrize('part', PARTS, ids=lambda part: part.name)
def test_no_layer_of_binary_neurons_begins_silent(part):
    torch.manual_seed(0)
    module = part.make(timesteps=2, neuron_cfg=LIF_CFG)
    module.init_weights()
    x = part.input(16)
    if part.name in ('SpikeFCNHead', 'SpikeShared4Conv1FCBBoxHead'):
        module.train()
    with FiringRateRecorder(module) as recorder, torch.no_grad():
        module(x)
    silent = [rate.name for rate in recorder.rates() if rate.outputs and not rate.spikes]
    assert not silent


@pytest.mark.parametrize('part', PARTS, ids=lambda part: part.name)
def test_layers_between_neurons_without_norms_are_widened(part):
    module = part.make(timesteps=2, neuron_cfg=LIF_CFG)
    module.init_weights()
    gain = neuron_gain(LIF(timesteps=2))
    for _, layer in module.spiking_layers():
        inputs = layer.in_channels if isinstance(layer, nn.ConvTranspose2d) else (
            layer.weight[0].numel()
        )  # fmt: skip
        assert layer.weight.std().item() == pytest.approx(gain / math.sqrt(inputs), rel=0.3)


def test_a_second_call_and_pretrained_weights_change_nothing(tmp_path):
    part = next(part for part in NECKS if part.name == 'SpikeFPN')
    module = part.make(neuron_cfg=LIF_CFG)
    module.init_weights()
    torch.save(module.state_dict(), tmp_path / 'neck.pth')
    before = widths_of(module)
    module.init_weights()
    assert widths_of(module) == before
    loaded = part.make(
        neuron_cfg=LIF_CFG, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'neck.pth'))
    )
    loaded.init_weights()
    assert widths_of(loaded) == before
