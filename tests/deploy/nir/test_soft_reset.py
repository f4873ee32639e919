"""The loop of standard nodes is a soft reset, also for those who run it as the loop that it is."""

import nir
import numpy as np
import pytest
import torch

from mmspike import set_timesteps
from mmspike.deploy.nir import from_nir, to_nir
from mmspike.neurons import IF, LIF, PLIF, SpikingQCFS

T = 12
NEURONS = {
    'IF': IF(v_reset=None, threshold=1.0),
    'LIF': LIF(v_reset=None, tau=2.0, threshold=1.0),
    'LIF without decay_input': LIF(v_reset=None, tau=4.0, threshold=0.5, decay_input=False),
    'LIF that forgets at once': LIF(v_reset=None, tau=1.0),
    'PLIF': PLIF(v_reset=None, init_tau=2.0),
    'SpikingQCFS': SpikingQCFS(init_threshold=0.5),
}


def simulate(graph, x, dt=1e-4):
    """Run the loop in NumPy, by NIR's equations: x ``(T, ...)`` to outputs ``(T, ...)``."""
    nodes = graph.nodes
    integrator, threshold = nodes['integrator'], nodes['threshold'].threshold
    v, feedback, outputs = 0.0, 0.0, []
    for current in x:
        if isinstance(integrator, nir.I):
            v = v + dt * integrator.r * (current + feedback)
        else:
            v = v + dt / integrator.tau * (
                integrator.v_leak - v + integrator.r * (current + feedback)
            )
        # Ties are not at 1e-12: dt is no binary number.
        fired = (v >= threshold - 1e-12).astype(float)
        feedback = fired * nodes['reset'].scale
        outputs.append(fired * nodes['worth'].scale if 'worth' in nodes else fired)
    return np.array(outputs)


@pytest.mark.parametrize('neuron', NEURONS.values(), ids=NEURONS)
@torch.no_grad()
def test_loop_by_the_equations_of_nir(neuron):
    # Multiples of 1/8: sums are exact, and neurons reach their thresholds exactly at times.
    x = torch.randint(-4, 13, (T, 50)) / 8
    set_timesteps(neuron, T)
    expected = neuron(x)
    assert 0 < (expected > 0).float().mean() < 1
    (loop,) = (n for n in to_nir(neuron, x).nodes.values() if isinstance(n, nir.NIRGraph))
    assert np.array_equal(simulate(loop, x.double().numpy()), expected.numpy())


@pytest.mark.parametrize('neuron', NEURONS.values(), ids=NEURONS)
def test_is_one_neuron_again(neuron):
    back = from_nir(to_nir(neuron, torch.rand(T, 5)))
    (loaded,) = back.values()
    assert type(loaded) is (LIF if isinstance(neuron, PLIF) else type(neuron))
    if isinstance(neuron, SpikingQCFS):
        assert torch.equal(loaded.threshold, neuron.threshold)
    elif not isinstance(neuron, PLIF):
        assert loaded.describe() == neuron.describe()


def changed(name, key, factor):
    graph = to_nir(NEURONS['SpikingQCFS'], torch.rand(T, 50))
    node = graph.nodes['spikingqcfs'].nodes[name]
    setattr(node, key, getattr(node, key) * factor)
    return graph


@pytest.mark.parametrize(
    ('name', 'key'), [('threshold', 'threshold'), ('reset', 'scale'), ('integrator', 'r')]
)
@torch.no_grad()
def test_other_numbers_make_another_neuron(name, key):
    """They are run as the loop that they are: 1.5 is no factor that cancels."""
    graph, x = changed(name, key, 1.5), torch.randint(-4, 13, (T * 2, 50)) / 8
    back = from_nir(graph)
    set_timesteps(back, T)
    assert type(back['spikingqcfs']).__name__ == 'RecurrentNetwork'
    expected = simulate(graph.nodes['spikingqcfs'], x.unflatten(0, (T, 2)).double().numpy())
    assert np.array_equal(back(x).unflatten(0, (T, 2)).numpy(), expected)
    assert torch.equal(back(x), back(x))


@torch.no_grad()
def test_loop_without_recognition_fires_the_same():
    """One more edge that carries nothing, and it is another graph."""
    graph = to_nir(NEURONS['IF'], torch.rand(T, 50))
    (loop,) = (n for n in graph.nodes.values() if isinstance(n, nir.NIRGraph))
    loop.nodes['nothing'] = nir.Scale(np.zeros(50))
    loop.edges += [('threshold', 'nothing'), ('nothing', 'output')]
    back, x = from_nir(graph), torch.randint(-4, 13, (T, 50)) / 8
    for net in (back, NEURONS['IF']):
        set_timesteps(net, T)
    assert torch.equal(back(x), NEURONS['IF'](x))
