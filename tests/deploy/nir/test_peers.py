"""Other simulators fire the same spikes from our graphs, and we from theirs.

Weights and inputs are multiples of 1/8 and few, so that all sums are exact, and thresholds are no
sums of them: simulators differ in the order of additions, and in what happens at the threshold.
"""

from functools import partial

import nir
import pytest
import torch
from torch import nn

from mmspike import set_timesteps
from mmspike.deploy.nir import from_nir, to_nir
from mmspike.neurons import IF, LIF

T, BATCH = 6, 3
THRESHOLD = 1 + 2**-10
neuron = partial(LIF, threshold=THRESHOLD)


def exact(net):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randint(-8, 13, parameter.shape) / 8)
    set_timesteps(net, T)
    return net


def linear(make):
    return exact(nn.Sequential(nn.Linear(12, 16), make(), nn.Linear(16, 8), make())), (12,)


def convolutions(make):
    layers = nn.Conv2d(2, 4, 3, padding=1), make(), nn.Conv2d(4, 3, (2, 2), stride=2), make()
    return exact(nn.Sequential(*layers)), (2, 6, 6)


def flattened(make):
    layers = nn.Conv2d(2, 4, 3), make(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 6), make()
    return exact(nn.Sequential(*layers)), (2, 6, 6)


@torch.no_grad()
def step_by_step(model, x):
    """Run a model that takes one step and its state."""
    state, outputs = None, []
    for step in x.unflatten(0, (T, -1)):
        out, state = model(step, state)
        outputs.append(out)
    return torch.cat(outputs)


@torch.no_grad()
def check(case, load):
    net, shape = case
    x = torch.randint(0, 2, (T * BATCH, *shape)).float()
    expected = net(x)
    assert 0 < expected.mean() < 1
    assert torch.equal(step_by_step(load(to_nir(net, x)), x), expected)


class Residual(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1)
        self.neuron1, self.neuron2 = make(), make()

    def forward(self, x):
        x = self.neuron1(self.stem(x))
        return self.neuron2(x + self.conv(x))


@pytest.mark.parametrize('build', [linear, convolutions, flattened])
@pytest.mark.parametrize(
    'make',
    [
        neuron,
        partial(neuron, tau=4.0, decay_input=False),
        partial(neuron, v_reset=-0.5),
        partial(IF, threshold=THRESHOLD),
    ],
    ids=['LIF', 'LIF without decay_input', 'LIF with another rest', 'IF'],
)
def test_spikingjelly(build, make):
    pytest.importorskip('nirtorch')
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    check(build(make), import_from_nir)


def test_spikingjelly_adds_residuals():
    pytest.importorskip('nirtorch')
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    check((exact(Residual(neuron)), (2, 6, 6)), import_from_nir)


# It takes Flatten to count the batch, and scales thresholds instead of inputs.
@pytest.mark.parametrize('build', [linear, convolutions])
@pytest.mark.parametrize('decay_input', [True, False])
def test_snntorch(build, decay_input):
    pytest.importorskip('snntorch')
    from snntorch.import_nir import import_from_nir

    check(build(partial(neuron, decay_input=decay_input)), import_from_nir)


# It takes Flatten to count the batch, and every r to be 1.
@pytest.mark.parametrize('build', [linear, convolutions])
def test_norse(build):
    norse = pytest.importorskip('norse.torch')
    check(build(neuron), partial(norse.from_nir, dt=1e-4))


@torch.no_grad()
def test_a_network_of_spikingjelly():
    pytest.importorskip('nirtorch')
    from spikingjelly.activation_based import functional, layer
    from spikingjelly.activation_based import neuron as theirs
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    net = nn.Sequential(
        layer.Conv2d(2, 4, 3), theirs.LIFNode(tau=2.0, v_threshold=THRESHOLD), layer.AvgPool2d(2),
        layer.Flatten(), layer.Linear(16, 8), theirs.CUBALIFNode(0.5, 0.75, v_threshold=THRESHOLD),
        layer.Linear(8, 6), theirs.IFNode(v_threshold=THRESHOLD),
    )  # fmt: skip
    for parameter in net.parameters():
        parameter.copy_(torch.randint(-8, 9, parameter.shape) / 8)
    x = torch.randint(0, 2, (T * BATCH, 2, 6, 6)).float()
    loaded = from_nir(export_to_nir(net, x[:BATCH]))
    set_timesteps(loaded, T)
    functional.reset_net(net)
    expected = torch.cat([net(step) for step in x.unflatten(0, (T, BATCH))])
    assert 0 < expected.mean() < 1
    assert torch.equal(loaded(x), expected)


def test_soft_resets_are_refused_by_simulators_that_cannot_run_them():
    """Not run with a hard reset."""
    pytest.importorskip('nirtorch')
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    graph = to_nir(IF(v_reset=None), torch.ones(1, 2))
    assert any(isinstance(node, nir.NIRGraph) for node in graph.nodes.values())
    with pytest.raises(ValueError, match='Unknown node type'):
        import_from_nir(graph)
