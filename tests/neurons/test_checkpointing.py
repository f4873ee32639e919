"""Activation checkpointing runs layers a second time: what neurons do then."""

import pytest
import torch
from mmengine.runner import turn_on_activation_checkpointing
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmspike.neurons.kernels.backend import neuron_backend
from support.neurons import NEURONS, WITH_MEMORY, WITHOUT_MEMORY


def gradient(net, run, x):
    leaf = x.clone().requires_grad_()
    out = run(net, leaf)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return leaf.grad


def plainly(net, x):
    return net(x)


def reentrant(net, x):
    return checkpoint(net, x, use_reentrant=True)


def not_reentrant(net, x):
    return checkpoint(net, x, use_reentrant=False)


def by_mmengine(net, x):
    model = nn.Module()
    model.block = net
    plain = net.forward
    turn_on_activation_checkpointing(model, 'block')
    try:
        return net(x)
    finally:
        net.forward = plain


WAYS = [reentrant, not_reentrant, by_mmengine]


@pytest.mark.parametrize('backend', ['auto', 'reference'])
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('kind', WITH_MEMORY)
def test_stateful_neurons_refuse_their_second_run(kind, way, backend):
    net = nn.Sequential(nn.Linear(3, 3), kind(timesteps=2, stateful=True), nn.Linear(3, 3))
    with (
        neuron_backend(backend),
        pytest.raises(RuntimeError, match=rf'stateful {kind.__name__} was run again in a back'),
    ):
        gradient(net, way, torch.randn(4, 3))


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('kind', NEURONS)
def test_without_a_state_the_gradient_is_the_same(kind, way):
    net = nn.Sequential(nn.Linear(3, 3), kind(timesteps=2), nn.Linear(3, 3))
    x = torch.randn(4, 3)
    torch.testing.assert_close(gradient(net, way, x), gradient(net, plainly, x))


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('kind', WITHOUT_MEMORY)
def test_neurons_without_memory_may_be_stateful(kind, way):
    net = nn.Sequential(nn.Linear(3, 3), kind(timesteps=2, stateful=True), nn.Linear(3, 3))
    x = torch.randn(4, 3)
    torch.testing.assert_close(gradient(net, way, x), gradient(net, plainly, x))


@pytest.mark.parametrize('kind', WITH_MEMORY)
def test_a_stream_without_gradients_may_be_checkpointed(kind):
    x = torch.randn(2, 4, 3)
    plain, checkpointed = (kind(timesteps=2, stateful=True) for _ in range(2))
    with torch.no_grad():
        for chunk in x:
            assert torch.equal(not_reentrant(checkpointed, chunk), plain(chunk))


@pytest.mark.parametrize('kind', WITH_MEMORY)
def test_a_stateful_neuron_still_learns_through_time(kind):
    """Two chunks, one backward pass: the neuron is run outside of it."""
    neuron = kind(timesteps=2, stateful=True)
    x = torch.randn(8, 3, requires_grad=True)
    (neuron(x[:4]).sum() + neuron(x[4:]).sum()).backward()
    assert x.grad.isfinite().all()
