"""Every fault that is planted in a small network is found, in its layer; the network has none."""

import pytest
import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import nn
from torch.nn.functional import conv2d, dropout

from mmspike import set_timesteps
from mmspike.claims import BROKEN, HOLDS, Place, check_claims
from mmspike.execution import SpikeTrain
from mmspike.neurons import LIF, SFA
from mmspike.temporal import TemporalModule, fold_time, unfold_time
from support.firing_networks import give_statistics

T, B = 4, 3


class MixesSamples(nn.Module):
    """Takes the mean of the batch from every sample."""

    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class RunsAcrossTheBatch(nn.Module):
    """Neurons whose time runs over all rows, so that membranes go from sample to sample."""

    def __init__(self):
        super().__init__()
        self.neuron = LIF()

    def forward(self, x):
        self.neuron.timesteps = len(x)
        return self.neuron(x * 9)


class LooksAhead(TemporalModule, nn.Module):
    """Adds to every step what comes at the next one."""

    def forward(self, x):
        steps = unfold_time(x, self.timesteps)
        return fold_time(steps + steps.roll(-1, 0))


class Leaks(nn.Module):
    """Keeps a part of the last call."""

    def __init__(self):
        super().__init__()
        self.last = 0.0

    def forward(self, x):
        out = x + self.last
        self.last = 0.5 * x.mean((0, 2, 3), keepdim=True)
        return out


class LeaksUntilReset(MemoryModule):
    """Keeps a part of the last call, as the nodes of spikingjelly do."""

    def __init__(self):
        super().__init__()
        self.register_memory('last', 0.0)

    forward = Leaks.forward


class DropsAlways(nn.Module):
    def forward(self, x):
        return dropout(x, 0.2)


class CountsTheBatch(nn.Module):
    def forward(self, x):
        return x * len(x)


class LikesTheFirst(nn.Module):
    """Treats the sample at the first place in another way."""

    def forward(self, x):
        return torch.cat([x[:1] * 2, x[1:]])


class BiasPerSlot(nn.Conv2d):
    """Runs the slots of integers by itself, and adds its bias to each."""

    def forward(self, x):
        if not isinstance(x, SpikeTrain):
            return super().forward(x)
        slots = (slot * x.spike_value for slot in x.slots())
        return sum(conv2d(slot, self.weight, self.bias, padding=1) for slot in slots)


class ForgetsTheNorm(nn.Conv2d):
    """Takes every spike for 1, though it is worth 1/norm."""

    def forward(self, x):
        if not isinstance(x, SpikeTrain):
            return super().forward(x)
        return (
            sum(conv2d(slot, self.weight, None, padding=1) for slot in x.slots())
            + (self.bias[:, None, None])
        )


class RealConvolution(nn.Sequential):
    """Two convolutions with nothing but an activation of real numbers in between."""

    def __init__(self):
        super().__init__(nn.Conv2d(8, 8, 1), nn.GELU(), nn.Conv2d(8, 8, 1))


class RealProduct(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


class Net(nn.Module):
    """Two layers of spikes, with a part that may be wrong between them, and a read-out."""

    def __init__(self, part=None, conv=nn.Conv2d, neuron=SFA):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.neuron1 = neuron()
        self.conv = conv(8, 8, 3, padding=1)
        self.part = part or nn.Identity()
        self.norm = nn.BatchNorm2d(8)
        self.neuron2 = neuron()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.neuron1(self.stem(x))
        x = self.neuron2(self.norm(self.part(self.conv(x))))
        return self.head(x.flatten(2).mean(2))


def report_on(net):
    x = torch.randn(T * B, 3, 6, 6)
    set_timesteps(net, T)
    give_statistics(net, lambda: net(x))
    return check_claims(net, x, layout='folded', timesteps=T)


def broken(report):
    return {claim.name for claim in report.broken}


@pytest.mark.parametrize('neuron', [SFA, LIF])
def test_without_a_fault_all_holds(neuron):
    report = report_on(Net(neuron=neuron))
    assert not report.notes
    assert {claim.verdict for claim in report.claims} == {HOLDS}
    assert len(report.claims) == 9


@pytest.mark.parametrize(
    ('part', 'layer'),
    [(MixesSamples(), 'part'), (RunsAcrossTheBatch(), 'part.neuron')],
    ids=['mean', 'membranes'],
)
def test_samples_that_are_mixed(part, layer):
    claim = report_on(Net(part))['batch independence']
    assert (claim.verdict, claim.places[0].layer) == (BROKEN, layer)
    assert 'which other samples' in claim.finding


@pytest.mark.parametrize(
    ('part', 'on'),
    [(CountsTheBatch(), 'on the number of samples'), (LikesTheFirst(), 'on the order')],
    ids=['number', 'order'],
)
def test_the_batch_is_seen_otherwise(part, on):
    claim = report_on(Net(part))['batch independence']
    assert (claim.verdict, claim.places) == (BROKEN, (Place('part'),))
    assert on in claim.finding


def test_a_look_into_the_future():
    report = report_on(Net(LooksAhead()))
    assert broken(report) == {'causality', 'other numbers of steps'}
    assert report['causality'].places == (Place('part', 0, 0),)
    assert report['other numbers of steps'].places == (Place('part'),)


def test_a_leak():
    report = report_on(Net(Leaks()))
    assert broken(report) == {'no leak between calls', 'state reset'}
    assert all(claim.places == (Place('part'),) for claim in report.broken)


def test_a_state_that_a_reset_ends_is_no_leak():
    report = report_on(Net(LeaksUntilReset()))
    assert not report.broken
    assert report['no leak between calls'].places == (Place('part'),)
    assert 'until reset_net' in report['no leak between calls'].finding


def test_chance():
    report = report_on(Net(DropsAlways()))
    assert report['determinism'].places == (Place('part'),)
    assert report['batch independence'].finding == 'the model is not deterministic'


@pytest.mark.parametrize(
    ('conv', 'finding'),
    [(BiasPerSlot, 'its bias enters 4 times'), (ForgetsTheNorm, 'differ')],
)
def test_slots_that_are_added_up_wrongly(conv, finding):
    report = report_on(Net(conv=conv))
    assert len(broken(report)) == 1
    (claim,) = report.broken
    assert claim.name == 'bias once, 1/norm in weights'
    assert finding in claim.finding
    assert claim.places == (Place('conv'),)


def test_a_layer_that_takes_real_numbers():
    report = report_on(Net(RealConvolution()))
    assert broken(report) == {'spikes between layers', 'additions only'}
    assert report['spikes between layers'].places == (Place('part.0'), Place('part.2'))
    assert report['additions only'].places == (Place('part.1'),)


def test_a_product_of_real_numbers():
    claim = report_on(Net(RealProduct()))['additions only']
    assert claim.places == (Place('part'), Place('norm'))
    assert 'product of real numbers' in claim.finding


def test_a_norm_that_stands_behind_no_layer():
    claim = report_on(Net(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8))))['additions only']
    assert [place.layer for place in claim.places] == ['part.0', 'part.1', 'norm']
