"""Between which neurons an operation stands follows from where its numbers go."""

import pytest
import torch
from snntorch import Leaky
from spikingjelly.activation_based import neuron
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from mmspike.claims import BROKEN, HOLDS, NOT_SHOWN, check_claims
from mmspike.neurons import SFA


class StepByStep(nn.Module):
    """An encoder with a max pool, two layers of neurons and a read-out, called at each step."""

    def __init__(self, part=None):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), neuron.IFNode())
        self.part = part or nn.Identity()
        self.conv, self.fire, self.head = nn.Conv2d(8, 8, 2), neuron.IFNode(), nn.Linear(8, 4)

    def forward(self, x):
        scores = []
        for step in x:
            spikes = self.fire(9 * self.conv(self.part(self.encoder(step))))
            scores.append(self.head(spikes.mean((2, 3))).softmax(-1))
        return torch.stack(scores)


class Softmax(nn.Module):
    def forward(self, x):
        return x * x.softmax(1)


def test_ends_of_a_network_that_runs_step_by_step():
    x = 3 * torch.randn(4, 3, 3, 8, 8)
    report = check_claims(StepByStep(), x, layout='steps', timesteps=4)
    assert not report.broken
    assert 'before the first neurons: encoder.0' in report['spikes between layers'].finding
    claim = check_claims(StepByStep(Softmax()), x, layout='steps', timesteps=4)['additions only']
    assert (claim.verdict, claim.finding) == (BROKEN, '4 x softmax')
    assert [place.layer for place in claim.places] == ['part']


def test_spikes_that_are_written_into_a_tensor():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.fire = SFA()

        def forward(self, x):
            spikes = torch.zeros(2, len(x), 6).to(x)
            spikes[0] = self.fire(4 * self.first(x))
            real = self.second(spikes[0])
            return self.fire(self.third(real.softmax(-1)))

    report = check_claims(Writes(), torch.randn(3, 3))
    assert [place.layer for place in report['additions only'].places] == ['(model)']
    assert [place.layer for place in report['spikes between layers'].places] == ['third']


class Threshold(nn.Module):
    """Neurons with a threshold for each channel."""

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.full((1, 8, 1, 1), 0.2))

    def forward(self, x):
        return (x > self.threshold).to(x)


@pytest.mark.parametrize('fire', [Threshold, lambda: Leaky(beta=0.9)], ids=['own', 'snntorch'])
def test_neurons_of_others(fire):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)])
            self.fires = nn.ModuleList([fire(), fire()])

        def forward(self, x):
            for conv, fires in zip(self.convs, self.fires, strict=True):
                spikes = fires(9 * conv(x))
                x = spikes[0] if isinstance(spikes, tuple) else spikes
            return x.mean((2, 3))

    report = check_claims(Net(), torch.randn(3, 3, 8, 8))
    assert report.origin['neurons'] == '2'
    assert report['spikes between layers'].verdict == HOLDS


class Fires(nn.Module):
    def forward(self, x):
        return (x > 0.5).to(x)


@pytest.mark.parametrize('fire', [SFA, Fires])
def test_a_norm_in_one_container_with_neurons(fire):
    net = nn.Sequential(
        nn.Linear(3, 8), SFA(), nn.Linear(8, 8), nn.Sequential(nn.LayerNorm(8), fire())
    )
    claim = check_claims(net, 9 * torch.randn(3, 3))['additions only']
    assert [place.layer for place in claim.places] == ['3.0']


@pytest.mark.parametrize('between', [lambda x: x / 3, lambda x: x - x.mean(0), nn.AvgPool2d(2)])
def test_a_norm_behind_linear_operations(between):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.norm, self.first, self.second = nn.BatchNorm2d(4), SFA(), SFA()

        def forward(self, x):
            return self.second(self.norm(between(self.conv(self.first(9 * self.stem(x))))))

    report = check_claims(Net(), torch.randn(3, 3, 8, 8))
    assert report['additions only'].verdict == HOLDS


class Applies(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ('function', 'what'),
    [
        (torch.abs, 'activation of real numbers'),
        (lambda x: x.clamp(0, 1), 'activation of real numbers'),
        (lambda x: torch.maximum(x, x.flip(1)), 'activation of real numbers'),
        (nn.PReLU(), 'activation of real numbers'),
        (lambda x: scaled_dot_product_attention(x, x, x), 'softmax'),
        (lambda x: scaled_dot_product_attention(*[x[:, None]] * 3)[:, 0], 'softmax'),
        (lambda x: x**2, 'function'),
    ],
    ids=['abs', 'clamp', 'maximum', 'prelu', 'attention', 'fused attention', 'square'],
)
def test_functions_of_real_numbers(function, what):
    net = nn.Sequential(
        nn.Linear(4, 8), SFA(), nn.Linear(8, 8), Applies(function), nn.Linear(8, 8), SFA()
    )
    claim = check_claims(net, 9 * torch.randn(3, 5, 4))['additions only']
    assert claim.places[0].layer in ('3', '3.function')
    assert what in claim.finding


def test_a_compiled_function_runs_on_no_slots():
    net = nn.Sequential(
        nn.Linear(4, 8), SFA(), Applies(torch.compile(lambda x: x * 2 + 1, backend='eager'))
    )
    assert not check_claims(net, 9 * torch.randn(3, 4)).broken


def test_spikes_that_no_module_fires():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.second((self.first(x) > 0).to(x))

    claim = check_claims(Net(), torch.randn(3, 4))['spikes between layers']
    assert claim.verdict == NOT_SHOWN
    assert '1 of 2 layers take spikes' in claim.finding
