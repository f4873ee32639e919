"""Several threads on one model: each gets what it would get alone."""

import pytest
import torch
from torch import nn

from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.execution import (
    SpikeDriven,
    check_spike_driven,
    compare_executions,
    set_execution,
)
from mmspike.neurons import SFA
from mmspike.recorders.firing_rates import FiringRateRecorder
from support.threads import at_the_same_time, in_thread


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), SFA(D=4), nn.Conv2d(8, 8, 3, padding=1), SFA(D=4)]
    layers += [nn.Flatten(), nn.Linear(8 * 36, 5)]
    return nn.Sequential(*layers).eval()


def batches(number):
    generator = torch.Generator().manual_seed(1)
    return [3 * torch.randn(2 + i, 3, 8, 8, generator=generator) for i in range(number)]


def counted(net, x, times=1):
    with EnergyCounter(net) as counter, torch.no_grad():
        for _ in range(times):
            net(x)
    return counter.counts()


def test_a_call_in_another_thread_is_not_counted():
    net, (x, y) = network(), batches(2)
    expected = counted(net, x)
    with EnergyCounter(net) as counter, torch.no_grad():
        other = in_thread(lambda: net(y))
        net(x)
        in_thread(lambda: net(y))
    assert counter.counts() == expected
    with torch.no_grad():
        assert type(other) is torch.Tensor
        torch.testing.assert_close(other, net(y))


def test_only_calls_elsewhere_are_no_calls():
    net, (x,) = network(), batches(1)
    with EnergyCounter(net) as counter:
        in_thread(lambda: net(x))
    with pytest.raises(ValueError, match='the thread that opened it'):
        EnergyReport(counter)


def test_each_thread_counts_its_own_calls():
    net, inputs = network(), batches(3)
    expected = [counted(net, x, times=10) for x in inputs]
    found = at_the_same_time(*(lambda x=x: counted(net, x, times=10) for x in inputs))
    assert found == expected
    assert all('forward' not in vars(module) for module in net.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_threads_run_one_model_on_spikes():
    net, inputs = network(), batches(3)
    with torch.no_grad():
        on_integers = [net(x) for x in inputs]
    set_execution(net, 'spike')
    expected = [net(x) for x in inputs]

    def run(x):
        return [net(x) for _ in range(10)]

    found = at_the_same_time(*(lambda x=x: run(x) for x in inputs))
    for outs, right, close in zip(found, expected, on_integers, strict=True):
        assert all(type(out) is torch.Tensor and torch.equal(out, right) for out in outs)
        torch.testing.assert_close(right, close, rtol=1e-4, atol=1e-4)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_one_thread_on_spikes_beside_one_on_integers():
    net, (x, y) = network(), batches(2)
    net.analog_layers = ('0',)
    with torch.no_grad():
        expected = net(y)

    def on_spikes():
        with SpikeDriven(net), torch.no_grad():
            return check_spike_driven(net, lambda: [net(x) for _ in range(10)])

    def on_integers():
        with torch.no_grad():
            return [net(y) for _ in range(10)]

    seen, outs = at_the_same_time(on_spikes, on_integers)
    assert [(layer.layer, layer.binary) for layer in seen[1:]] == [('2', True), ('5', True)]
    assert all(torch.equal(out, expected) for out in outs)


def test_a_check_sees_its_own_thread_only():
    net, (x, y) = network(), batches(2)
    set_execution(net, 'spike')
    net.analog_layers = ('0',)
    expected = check_spike_driven(net, lambda: net(x))
    assert check_spike_driven(net, lambda: [in_thread(lambda: net(y)), net(x)]) == expected


def test_a_comparison_sees_its_own_thread_only():
    net, (x, y) = network(), batches(2)
    expected = compare_executions(net, lambda: net(x))
    assert compare_executions(net, lambda: [in_thread(lambda: net(y)), net(x)]) == expected


def test_firing_rates_of_its_own_thread_only():
    net, (x, y) = network(), batches(2)
    rates = []
    for others in (False, True):
        with FiringRateRecorder(net) as recorder, torch.no_grad():
            net(x)
            if others:
                in_thread(lambda: net(y))
        rates.append(recorder.rates())
    assert rates[0] == rates[1]


def test_a_block_is_opened_once_and_closed_where_it_was_opened():
    net, (x,) = network(), batches(1)
    counter = EnergyCounter(net)
    with counter, torch.no_grad():
        with pytest.raises(RuntimeError, match='this EnergyCounter is open already'):
            counter.__enter__()
        with pytest.raises(RuntimeError, match='this EnergyCounter is open already'):
            in_thread(counter.__enter__)
        with pytest.raises(RuntimeError, match='opened by another thread'):
            in_thread(lambda: counter.__exit__(None, None, None))
        net(x)
    assert counter.counts() == counted(net, x)
