"""What a report says of its origin."""

import hashlib
import shlex
import sys
from datetime import datetime, timedelta

import pytest
import torch
from torch import nn

import mmspike
from mmspike.energy import EnergyCounter, EnergyCounts, Origin
from mmspike.energy.origin import RANDOM, neuron_kinds, sha256
from mmspike.neurons import IF, LIF, SFA


def test_what_a_process_knows_by_itself():
    origin = Origin()
    assert origin.versions['mmspike'] == mmspike.__version__
    assert origin.versions['torch'] == torch.__version__
    assert shlex.split(origin.command)[1:] == sys.orig_argv[1:]
    age = datetime.now().astimezone() - datetime.fromisoformat(origin.date)
    assert timedelta(seconds=-1) <= age < timedelta(minutes=1)
    assert (origin.random, origin.banner) == ((), None)


def test_of_a_checkpoint(tmp_path):
    file = tmp_path / 'weights.pth'
    file.write_bytes(b'weights')
    origin = Origin.of('config.py', file, 'test data')
    assert (origin.config, origin.weights, origin.images) == ('config.py', str(file), 'test data')
    assert origin.checkpoint_sha256 == sha256(file) == hashlib.sha256(b'weights').hexdigest()
    assert origin.random == ()


@pytest.mark.parametrize(
    ('weights', 'images', 'banner'),
    [
        (RANDOM, 'data', 'RANDOM WEIGHTS: firing rates'),
        ('file', RANDOM, 'RANDOM IMAGES: firing rates'),
        (RANDOM, RANDOM, 'RANDOM WEIGHTS AND RANDOM IMAGES: firing rates'),
    ],
)
def test_random(weights, images, banner):
    origin = Origin(weights=weights, images=images)
    assert origin.banner.startswith(banner)
    assert set(origin.random) == {
        name for name, value in (('weights', weights), ('images', images)) if value == RANDOM
    }


def test_kinds_of_neurons():
    neurons = [IF(threshold=1.0), IF(threshold=2.0), nn.ReLU(), SFA(D=4)]
    assert neuron_kinds(neurons) == {
        'IF(v_reset=0.0)': 2,
        'SFA(D=4, norm=4.0, rounding=half_even)': 1,
    }


def test_a_counter_knows_shapes_and_neurons():
    net = nn.Sequential(LIF(), nn.Flatten())
    with EnergyCounter(net) as counter, torch.no_grad():
        net(torch.rand(2, 3, 4, 5))
        net(torch.rand(1, 3, 4, 5))
        net(torch.rand(3, 6))
    counts = counter.counts()
    assert counts.input_shapes == {'3x4x5': 3, '6': 3}
    assert list(counts.neuron_kinds.values()) == [1]
    both = EnergyCounts.merged([counts, counts])
    assert both.input_shapes == {'3x4x5': 6, '6': 6}
    assert both.neuron_kinds == counts.neuron_kinds
    counter.reset()
    assert counter.counts().input_shapes == {}
