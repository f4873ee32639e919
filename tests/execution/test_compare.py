import pytest
import torch
from torch import nn

from mmspike.execution import EXECUTIONS, compare_executions, get_execution, set_execution
from mmspike.execution.encodings import ENCODINGS
from mmspike.execution.spike_driven import SpikeDriven
from mmspike.neurons import ILIF, SFA, set_stateful
from support.firing_networks import sixteenths


def net_of(exact, neuron=SFA):
    net = nn.Sequential(
        neuron(), nn.Conv2d(3, 8, 3), neuron(), nn.Conv2d(8, 8, 3), neuron(), nn.Flatten(),
        nn.Linear(128, 5),
    ).eval()  # fmt: skip
    if exact:
        for parameter in net.parameters():
            parameter.data = sixteenths(*parameter.shape)
    return net


X = torch.randn(4, 3, 8, 8) * 4


@pytest.mark.parametrize('execution', ENCODINGS)
def test_exact_weights_differ_nowhere(execution):
    net = net_of(exact=True)
    found = compare_executions(net, lambda: net(X), execution)
    assert [one.layer for one in found] == ['0', '1', '2', '3', '4', '6']
    assert all(one.largest == 0 for one in found)
    assert [one.spikes for one in found] == [0, None, 0, None, 0, None]
    assert found[1].outputs == 4 * 8 * 6 * 6
    assert found[1].scale == net[1](net[0](X)).abs().max()


@pytest.mark.parametrize('execution', ENCODINGS)
def test_other_weights_differ_by_rounding(execution):
    net = net_of(exact=False)
    found = compare_executions(net, lambda: net(X), execution)
    assert 0 < max(one.largest for one in found) < 1e-4


def test_a_wrong_execution_is_seen(monkeypatch):
    monkeypatch.setattr(
        SpikeDriven, 'weight_layer', lambda self, func, args, kwargs:
        func(next(args[0].slots()), *args[1:], **kwargs),
    )  # fmt: skip
    net = net_of(exact=True)
    found = {one.layer: one for one in compare_executions(net, lambda: net(X))}
    assert found['0'].spikes == 0
    assert found['2'].spikes > 0
    assert found['3'].largest > 0


def test_the_execution_that_was_asked_for_is_compared():
    net = net_of(exact=True)

    def run():
        ran.append(get_execution(net))
        return net(X)

    ran = []
    compare_executions(net, run, 'ternary')
    compare_executions(net, run)
    assert ran == ['integer', 'ternary', 'integer', 'spike']


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_execution_and_state_are_left_as_they_were(execution):
    net = net_of(exact=True, neuron=lambda: ILIF(timesteps=2))
    set_execution(net, execution)
    set_stateful(net)
    net(X)
    before = [net[i].v.clone() for i in (0, 2, 4)]
    found = compare_executions(net, lambda: net(X))
    assert all(one.largest == 0 for one in found)
    assert get_execution(net) == execution
    assert all(torch.equal(net[i].v, v) for i, v in zip((0, 2, 4), before, strict=True))


def test_misuse():
    net = net_of(exact=True)
    shapes = iter([2, 3])
    with pytest.raises(ValueError, match='other shapes'):
        compare_executions(net, lambda: net(X[: next(shapes)]))
    with pytest.raises(ValueError, match=r'call model\.eval'):
        compare_executions(net.train(), lambda: net(X))
    with pytest.raises(ValueError, match=r"one of .*'ternary'\), got 'unary'"):
        compare_executions(net.eval(), lambda: net(X), 'unary')
