"""Files that other projects wrote load and run."""

import os

import pytest
import torch

from mmspike import set_timesteps
from mmspike.deploy.nir import from_nir
from support.paths import ROOT

DATA = ROOT / 'tests/data/nir'
T = 20


@torch.no_grad()
def run(path, x, **options):
    net = from_nir(path, **options)
    set_timesteps(net, T)
    return net, net(x)


@torch.no_grad()
def spikingjelly(path, x):
    pytest.importorskip('nirtorch')
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    net, state, outputs = import_from_nir(path), None, []
    for step in x.unflatten(0, (T, -1)):
        out, state = net(step, state)
        outputs.append(out)
    return torch.cat(outputs)


def test_recurrent_network_of_snntorch():
    x = (torch.rand(T * 4, 12) < 0.4).float()
    net, out = run(DATA / 'braille.nir', x)
    assert list(net) == ['fc1', 'lif1_lif', 'fc2', 'lif2', 'lif1_w_rec']
    assert out.shape == (T * 4, 7)
    assert out.unique().tolist() == [0, 1]
    assert torch.equal(out, spikingjelly(DATA / 'braille.nir', x))
    assert torch.equal(net(x), out)  # from rest again


def test_neuron_of_norse():
    x = torch.rand(T * 4, 1) * 0.4
    net, out = run(DATA / 'lif_norse.nir', x)
    assert net['1'].tau == pytest.approx(25)
    assert 0 < out.mean() < 1
    assert torch.equal(out, spikingjelly(DATA / 'lif_norse.nir', x))


def test_convolutions_of_sinabs():
    """docs/tutorials/scnn_mnist.nir of sinabs 3.1.3, which is too large to be kept here."""
    path = os.environ.get('NIR_SCNN_MNIST')
    if not path:
        pytest.skip('NIR_SCNN_MNIST does not name the file')
    net, out = run(path, (torch.rand(T * 2, 2, 34, 34) < 0.2).float(), dt=1)
    assert len(net) == 13
    assert out.shape == (T * 2, 10)
    assert out.unique().tolist() == [0, 1]
