"""Firing rates by step and slot: worked out by hand, and against the rates of whole layers."""

import pytest
import torch
from torch import nn

from mmspike import set_timesteps
from mmspike.neurons import IF, LIF, SFA, set_stateful
from mmspike.recorders.firing_rates import FiringRateRecorder
from mmspike.recorders.step_rates import StepRateRecorder


def test_slots_of_integers():
    net = nn.Sequential(SFA(D=4, timesteps=2))
    with StepRateRecorder(net) as recorder:
        net(torch.tensor([[0.0, 1.0, 2.0, 4.0], [4.0, 4.0, 4.0, 3.0]]))
    (rates,) = recorder.rates()
    assert rates.name == '0'
    assert rates.rates.tolist() == [[0.75, 0.5, 0.25, 0.25], [1.0, 1.0, 1.0, 0.75]]
    assert rates.by_step == [1.75, 3.75]
    assert rates.by_slot == [0.875, 0.75, 0.625, 0.5]


def test_steps_of_binary_neurons():
    net = nn.Sequential(IF(timesteps=3))
    with StepRateRecorder(net) as recorder:
        net(torch.full((3 * 2, 1), 0.5))  # fires at every second step
    assert recorder.rates()[0].by_step == [0.0, 1.0, 0.0]


@pytest.mark.parametrize('neuron', [LIF, SFA])
def test_all_steps_and_slots_make_the_rate(neuron):
    net = nn.Sequential(neuron(), nn.Conv2d(3, 4, 3), neuron())
    set_timesteps(net, 4)
    with StepRateRecorder(net) as recorder, FiringRateRecorder(net) as whole:
        for batch in (2, 3):
            net(torch.randn(4 * batch, 3, 6, 6) * 3)
    for one, rate in zip(recorder.rates(), whole.rates(), strict=True):
        assert one.name == rate.name
        assert sum(one.by_step) / 4 == pytest.approx(rate.rate)


def test_chunks_of_a_simulation_go_on_counting():
    net = nn.Sequential(nn.Identity(), IF(timesteps=2))
    set_stateful(net)

    class Simulated(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return torch.cat([self.net(x), self.net(x)])

    model = Simulated()
    with StepRateRecorder(model) as recorder:
        model(torch.full((2, 1), 0.25))
        net[1].reset()
        model(torch.full((2, 1), 0.25))
    assert recorder.rates()[0].by_step == [0.0, 0.0, 0.0, 1.0]


def test_a_shared_layer_begins_anew_at_every_call():
    neuron = SFA(D=1)
    net = nn.Sequential(neuron, neuron)
    with StepRateRecorder(net) as recorder:
        net(torch.tensor([[1.0, 0.0]]))
    assert recorder.rates()[0].by_step == [0.5]


def test_hooks_are_gone_afterwards():
    net = nn.Sequential(SFA())
    with StepRateRecorder(net) as recorder:
        pass
    net(torch.ones(1, 1))
    assert recorder.rates() == []


def test_layers_that_were_given_nothing():
    net = nn.Sequential(SFA(D=2))
    with StepRateRecorder(net) as recorder:
        net(torch.zeros(0, 3))
        assert recorder.rates() == []
        net(torch.ones(1, 3))
    assert recorder.rates()[0].by_step == [1.0]
