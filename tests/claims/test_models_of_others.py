"""Models that are not ours, and what they are reported as."""

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from mmspike.claims import BROKEN, HOLDS, NOT_SHOWN, check_claims
from mmspike.neurons import SFA
from support.claims_page import reports_of
from support.firing_networks import give_statistics


def broken(report):
    return {claim.name: claim.places for claim in report.broken}


def test_a_plain_resnet_is_reported_as_what_it_is():
    (report,) = reports_of('ResNet-18 of mmpretrain')
    assert set(broken(report)) == {'spikes between layers', 'additions only'}
    assert '20 of 20 layers take real numbers' in report['spikes between layers'].finding
    assert 'no neurons' in report['spikes between layers'].finding
    assert report['batch independence'].verdict == HOLDS
    assert report['causality'].verdict == NOT_SHOWN


def test_the_transformer_of_spikingjelly():
    (report,) = reports_of('SpikeDrivenTransformer of spikingjelly')
    # The last pool of its stem works on membranes, as in the published code.
    assert set(broken(report)) == {'additions only'}
    assert report['additions only'].places[0].layer == 'patch_embed.final_stage.2'
    assert 'until reset_net' in report['no leak between calls'].finding
    assert report.origin['neurons'] == '19'
    assert '1 of 19 layers of neurons fired nothing' in report.notes[0]


@pytest.mark.slow
def test_a_residual_network_of_spikingjelly_sends_integers():
    (report,) = reports_of('SEW-ResNet-18 of spikingjelly, IF')
    assert not report.broken
    assert '0..3' in report['spikes between layers'].finding


def test_neurons_that_see_all_steps_look_into_the_future():
    (report,) = reports_of('a layer of PSN of spikingjelly')
    assert broken(report)['causality'][0].layer == '2'


class OwnNeuron(nn.Module):
    """A layer of neurons that no library knows."""

    def forward(self, x):
        return (x > 0.5).float()


def test_neurons_are_found_by_what_they_do():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), OwnNeuron(), nn.Conv2d(4, 4, 3), OwnNeuron())
    report = check_claims(net, torch.randn(3, 3, 9, 9) * 3)
    assert report.origin['neurons'] == '2'
    assert report['spikes between layers'].verdict == HOLDS


def test_one_call_per_step():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fire = layer.Conv2d(3, 4, 3), neuron.LIFNode()

        def forward(self, x):
            return torch.stack([self.fire(self.conv(step)) for step in x]).mean(0)

    report = check_claims(Loop(), torch.randn(4, 3, 3, 9, 9) * 9, layout='steps', timesteps=4)
    assert not report.broken


def test_images_that_a_model_repeats_by_itself():
    class Repeats(nn.Module):
        def __init__(self, ahead):
            super().__init__()
            self.conv, self.norm = layer.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.fire1, self.fire2 = neuron.LIFNode(step_mode='m'), neuron.LIFNode(step_mode='m')
            self.ahead = ahead

        def forward(self, x):
            x = self.norm(self.conv(x)).unsqueeze(0).repeat(4, 1, 1, 1, 1)
            x = self.fire1(x)
            return self.fire2(x.roll(-1, 0) if self.ahead else x).mean(0)

    for ahead, verdict in ((False, HOLDS), (True, BROKEN)):
        net, x = Repeats(ahead), torch.randn(3, 3, 9, 9)
        give_statistics(net, lambda net=net, x=x: net(x))
        claim = check_claims(net, x, timesteps=4)['causality']
        assert claim.verdict == verdict
        assert not ahead or claim.places[0].layer == '(model)'


def test_another_path_for_other_inputs():
    class Exits(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            x = self.first(x)
            return x if x.sum() > 0 else self.second(x)

    report = check_claims(Exits(), torch.randn(3, 3))
    assert {claim.verdict for claim in report.claims} <= {HOLDS, BROKEN, NOT_SHOWN}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(layout='video'), "layout must be one of .*, got 'video'"),
        (dict(layout='frames', timesteps=4), r'hold 5 time steps .* but timesteps=4'),
        (dict(layout='folded', timesteps=0), 'timesteps'),
        (dict(layout='folded', timesteps=2), r'cannot hold timesteps=2'),
        (dict(layout='folded', timesteps=3), r'hold one sample .*two and more'),
    ],
)
def test_bad_inputs(options, message):
    with pytest.raises(ValueError, match=message):
        check_claims(nn.Linear(4, 2), torch.rand(3, 5, 4), **options)


def test_inputs_with_too_few_dimensions():
    with pytest.raises(ValueError, match=r"inputs \(3,\) have too few .* layout='frames'"):
        check_claims(nn.Linear(3, 2), torch.rand(3), layout='frames', timesteps=3)


def test_layers_that_no_spike_reached_are_counted():
    net = nn.Sequential(nn.Linear(3, 4), SFA(), nn.Linear(4, 4), SFA(), nn.Linear(4, 2))
    nn.init.constant_(net[2].weight, 0)
    nn.init.constant_(net[2].bias, -1)
    report = check_claims(net, 4 * torch.randn(3, 3))
    assert 'nothing but 0: 1' in report['spikes between layers'].finding
