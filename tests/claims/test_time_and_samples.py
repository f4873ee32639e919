"""Where time and samples stand is found in networks of any order, and so are their faults."""

import numpy as np
import pytest
import torch
from snntorch import Leaky
from spikingjelly.activation_based import neuron
from torch import nn
from torch.nn.functional import pad

from mmspike.claims import BROKEN, HOLDS, NOT_SHOWN, Place, check_claims
from mmspike.neurons import SFA


class BatchMajor(nn.Module):
    """Layers on ``(B*T, ...)``, neurons on ``(T, B, ...)``, and scores ``(B, classes)``."""

    def __init__(self, classes=5, channels=8, answer=lambda x: x):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, channels), nn.Linear(channels, channels)])
        self.neurons = nn.ModuleList([neuron.LIFNode(step_mode='m') for _ in range(2)])
        self.head = nn.Linear(channels, classes)
        self.answer = answer

    def forward(self, x):
        for layer, fire in zip(self.layers, self.neurons, strict=True):
            x = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            x = fire(3 * x.transpose(0, 1)).transpose(0, 1)
        return self.answer(self.head(x).mean(1))


@pytest.mark.parametrize(
    ('samples', 'steps', 'options'),
    [
        (3, 4, {}),
        (3, 4, dict(classes=4)),
        (3, 4, dict(channels=4)),
        (2, 2, dict(classes=2, channels=2)),
        (6, 3, dict(answer=lambda x: {'scores': [x, None]})),
        (3, 3, dict(answer=lambda x: None)),
    ],
    ids=['sizes', 'classes', 'channels', 'all', 'dictionary', 'nothing'],
)
def test_batch_major(samples, steps, options):
    x = torch.randn(samples, steps, 6) * 3
    report = check_claims(BatchMajor(**options), x, layout='frames', timesteps=steps)
    assert not report.broken
    assert report['causality'].verdict == HOLDS


class OverTime(nn.Module):
    """A convolution over the last of ``(B, C, T)``."""

    def __init__(self, before, behind):
        super().__init__()
        self.conv, self.neuron, self.head = nn.Conv1d(6, 6, 3), SFA(), nn.Linear(6, 6)
        self.ends = before, behind

    def forward(self, x):
        x = self.conv(pad(x.transpose(1, 2), self.ends)).transpose(1, 2)
        return self.head(self.neuron(x))


@pytest.mark.parametrize(
    ('ends', 'places'), [((2, 0), ()), ((1, 1), (Place('conv', 0, 0),))], ids=['past', 'future']
)
def test_convolutions_over_time(ends, places):
    x = torch.randn(3, 6, 6) * 3
    claim = check_claims(OverTime(*ends), x, layout='frames', timesteps=6)['causality']
    assert claim.places == places
    assert claim.verdict == (BROKEN if places else HOLDS)


class LooksAhead(nn.Module):
    def forward(self, x):
        return x + x.roll(-1, 0)


@pytest.mark.parametrize('samples', [3, 4, 8])
@pytest.mark.parametrize('part', [nn.Identity(), LooksAhead()], ids=['past', 'future'])
def test_a_number_of_steps_that_is_fixed(samples, part):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.neuron, self.part = neuron.LIFNode(step_mode='m'), part

        def forward(self, x):
            x = self.neuron(3 * self.first(x).unflatten(0, (4, -1)))
            return self.second(self.part(x)).flatten(0, 1)

    ahead = isinstance(part, LooksAhead)
    x = torch.randn(4 * samples, 6) * 3
    report = check_claims(Fixed(), x, layout='folded', timesteps=4)
    assert report['batch independence'].verdict == HOLDS
    assert report['causality'].places == ((Place('part', 0, 0),) if ahead else ())
    assert report['causality'].verdict == (BROKEN if ahead else HOLDS)


class StepByStep(nn.Module):
    """Neurons of snntorch, whose state the loop hands on."""

    def __init__(self, ahead=0):
        super().__init__()
        self.linear, self.neuron, self.ahead = nn.Linear(6, 5), Leaky(beta=0.9), ahead

    def forward(self, x):
        membrane, spikes = self.neuron.init_leaky(), []
        for step in range(len(x)):
            current = 4 * self.linear(x[min(step + self.ahead, len(x) - 1)])
            fired, membrane = self.neuron(current, membrane)
            spikes.append(fired)
        return torch.stack(spikes)


def test_calls_in_a_loop():
    x = torch.randn(4, 3, 6)
    for ahead in (0, 2):
        report = check_claims(StepByStep(ahead), x, layout='steps', timesteps=4)
        assert report['batch independence'].verdict == HOLDS
        assert report['causality'].places == ((Place('(model)', 0, 0),) if ahead else ())


def test_maps_that_have_no_samples():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.linear = nn.Linear(2, 6), nn.Linear(6, 5)

        def forward(self, x):  # 12 places: a multiple of the samples
            places = self.table(torch.arange(24, dtype=x.dtype).view(12, 2))
            return self.linear(x + places.mean(0))

    claim = check_claims(Positions(), torch.randn(3, 6))['batch independence']
    assert claim.verdict == HOLDS


class Scaled(nn.Module):
    """Divides by the largest number of the batch, which may come later."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        return self.linear(x / x.abs().max())


def test_one_largest_number_of_all():
    report = check_claims(Scaled(), torch.randn(4, 3, 6), layout='steps', timesteps=4)
    assert {'batch independence', 'causality'} <= {claim.name for claim in report.broken}
    assert report['causality'].places == (Place('(model)', 0, 0),)


def test_a_model_of_mmspike_that_was_not_told_the_number_of_steps():
    claim = check_claims(SFA(), torch.rand(4, 3, 6), layout='steps', timesteps=4)
    assert claim['other numbers of steps'].verdict == HOLDS


def test_no_time_is_found():
    class Flat(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1))

    net = nn.Sequential(Flat(24, 3), nn.Linear(3, 2))
    claim = check_claims(net, torch.randn(3, 4, 6), layout='frames', timesteps=4)['causality']
    assert claim.verdict == NOT_SHOWN


KEPT = {}


class KeepsOutside(nn.Module):
    def forward(self, x):
        out = x + KEPT.get('last', 0)
        KEPT['last'] = x.mean(0)
        return out


class OwnGenerator(nn.Module):
    def forward(self, x):
        return x * torch.from_numpy(np.random.rand(*x.shape) > 0.2)


@pytest.mark.parametrize(
    ('part', 'broken', 'why'),
    [
        (KeepsOutside(), 'no leak between calls', 'state is kept outside of the model'),
        (OwnGenerator(), 'determinism', 'the model is not deterministic'),
    ],
)
def test_what_has_another_cause_is_not_shown(part, broken, why):
    # Wide, so that two draws are not the same where neurons fire.
    net = nn.Sequential(nn.Linear(6, 200), SFA(), part)
    report = check_claims(net, torch.randn(3, 6) * 9)
    assert report[broken].places == (Place('2'),)
    for name in ('batch independence', 'bias once, 1/norm in weights'):
        assert report[name].verdict == NOT_SHOWN
        assert why in report[name].finding
    assert report['batch independence'] not in report.broken


def test_models_that_cannot_be_copied_as_they_are():
    net = nn.Sequential(nn.Linear(6, 4), neuron.LIFNode(step_mode='m'), nn.Linear(4, 2))
    x = torch.randn(4, 3, 6) * 5
    net(x)  # leaves a membrane with its graph
    compiled = nn.Sequential(torch.compile(net, backend='eager'), nn.Linear(2, 2))
    for model in (net, torch.compile(net, backend='eager'), compiled):
        assert not check_claims(model, x, layout='steps', timesteps=4).broken


def test_models_that_take_one_dtype_only():
    class Single(nn.Linear):
        def forward(self, x):
            assert x.dtype == torch.float32
            return super().forward(x)

    assert check_claims(Single(3, 2), torch.rand(3, 3)).origin['dtype'] == 'float32'


def test_indices_stay_in_their_range():
    net = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2))
    assert check_claims(net, torch.tensor([0, 1, 2]))['batch independence'].verdict == HOLDS


def test_integers_that_are_all_alike():
    class Embeds(nn.Embedding):
        def forward(self, x):
            return super().forward(x) - super().forward(x).mean(0)

    report = check_claims(Embeds(10, 4), torch.zeros(3, 5, dtype=torch.long))
    assert report['batch independence'].verdict == BROKEN


def test_random_numbers_go_on_as_without_a_check():
    net = nn.Linear(3, 2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    check_claims(net, torch.arange(6.0).view(2, 3))
    assert torch.equal(torch.rand(3), expected)


def test_arguments_by_name():
    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 4)

        def forward(self, x):
            return self.linear(input=x - x.mean(0))

    claim = check_claims(Mixes(), torch.randn(3, 6))['batch independence']
    assert claim.places[0].layer == '(model)'


def test_too_many_samples():
    with pytest.raises(ValueError, match=r'hold 9 samples .*; give at most 8'):
        check_claims(nn.Linear(4, 2), torch.rand(9, 4))
