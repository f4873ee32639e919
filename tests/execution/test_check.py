"""What the check sees, which knows nothing of how spikes came about."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmspike.execution import EXECUTIONS, SpikeDrivenError, check_spike_driven, set_execution
from mmspike.neurons import LIF, SFA


class Net(nn.Module):
    """An analog stem, then spikes."""

    def __init__(self, neuron=SFA, declare=True):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.neuron = neuron()
        self.conv = nn.Conv2d(4, 4, 3)
        self.conv.weight.data.mul_(4)
        self.out_neuron = neuron()
        if declare:
            self.analog_layers = ('stem',)

    def forward(self, x):
        q = self.out_neuron(self.conv(self.neuron(self.stem(x)))).flatten(2)
        return q @ q.mT


IMAGE = torch.rand(2, 3, 8, 8) * 9


def switched(net, execution='spike'):
    set_execution(net.eval(), execution)
    return net


def check(net, x=IMAGE):
    return {one.layer: one for one in check_spike_driven(net, lambda: net(x))}


def test_switched_it_passes():
    found = check(switched(Net()))
    assert [(one.layer, one.operators, one.binary, one.declared) for one in found.values()] == [
        ('stem', ('convolution',), False, True),
        ('conv', ('convolution',), True, False),
        ('', ('bmm',), True, False),
    ]


def test_ternary_inputs_are_spikes_but_not_binary():
    layers = {one.layer: one for one in check(switched(Net(), 'bitwise')).values()}
    assert {name: (one.binary, one.spikes) for name, one in layers.items()} == {
        'stem': (False, False), 'conv': (True, True), '': (True, True)
    }  # fmt: skip
    layers = {one.layer: one for one in check(switched(Net(), 'ternary')).values()}
    assert {name: (one.binary, one.spikes) for name, one in layers.items()} == {
        'stem': (False, False), 'conv': (False, True), '': (False, True)
    }  # fmt: skip


@pytest.mark.parametrize('execution', EXECUTIONS)
@pytest.mark.parametrize('values', [(-1.0, 0.0), (0.0, 2.0)])
def test_values_that_spikes_may_have(execution, values):
    def func(spikes):
        return functional.conv2d(torch.where(spikes > 0, *values), torch.rand(4, 2, 1, 1))

    net = switched(Attention(func), execution)
    if execution == 'ternary' and -1.0 in values:
        check(net, IMAGE[:, :2])
        return
    accepted = '-1, 0 and 1' if execution == 'ternary' else '0 and 1'
    with pytest.raises(SpikeDrivenError, match=f'took values other than {accepted}: the model'):
        check(net, IMAGE[:, :2])


def test_not_switched_it_fails_with_names():
    with pytest.raises(
        SpikeDrivenError, match=r'2 of 3 layers .*: conv, the model itself\. Is it switched'
    ):
        check(Net().eval())


def test_binary_neurons_need_no_switch():
    check(Net(LIF).eval())


def test_an_undeclared_analog_layer_fails():
    with pytest.raises(SpikeDrivenError, match=r'1 of 3 layers .*: stem\.'):
        check(switched(Net(declare=False)))


def test_declarations_of_parts():
    net = nn.Sequential(Net(), nn.Identity())
    assert check(switched(net))['0.stem'].declared


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_inference_mode_hides_nothing(mode):
    with mode():
        assert set(check(switched(Net()))) == {'stem', 'conv', ''}
        with pytest.raises(SpikeDrivenError, match='2 of 3'):
            check(Net().eval())


class Attention(nn.Module):
    def __init__(self, func):
        super().__init__()
        self.neuron = SFA()
        self.func = func

    def forward(self, x):
        return self.func(self.neuron(x))


@pytest.mark.parametrize(
    'func',
    [
        lambda s: functional.scaled_dot_product_attention(s, s, s),
        lambda s: torch.einsum('bhij,bhkj->bhik', s, s),
        lambda s: (s + 0.5) @ s.mean(0),
        lambda s: functional.conv2d(s.mul(0.3), torch.rand(4, 2, 1, 1)),
    ],
    ids=['softmax', 'einsum', 'numbers', 'conv'],
)
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_what_goes_around_the_slots_is_found(func, mode):
    with mode(), pytest.raises(SpikeDrivenError):
        check(switched(Attention(func)), torch.rand(2, 2, 4, 4) * 4)


def test_hooks_are_gone_afterwards():
    net = Net().eval()
    with pytest.raises(SpikeDrivenError):
        check(net)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_misuse():
    with pytest.raises(ValueError, match=r'call model\.eval'):
        check(Net())
    with pytest.raises(ValueError, match='nothing was multiplied'):
        check_spike_driven(Net().eval(), lambda: None)
