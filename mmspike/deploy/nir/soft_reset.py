"""Neurons with a soft reset, as a small graph of NIR.

Neurons of NIR have a hard reset. A soft reset subtracts from the membrane, as a current that comes
one step after the spike::

    input -> integrator -> threshold -> output
                 ^             |
                 +--- reset <--+          reset: a Scale with a negative factor

An edge that closes a loop is delayed by one step. The membrane after a spike is then that of a soft
reset. A membrane that starts at ``v0`` and fires at ``threshold`` is one that starts at 0 and fires
at ``threshold - v0``, if the reset subtracts the same. So the initial charge of
:class:`~mmspike.neurons.SpikingQCFS` is expressed exactly as well. Its spikes are worth the
threshold: one more Scale, ``worth``, stands before the output.
"""

import numpy as np

from mmspike.deploy.nir.dynamics import resistance
from mmspike.deploy.nir.layers import Shape
from mmspike.deploy.nir.library import nir
from mmspike.deploy.nir.numbers import full, in_steps, is_close, uniform
from mmspike.neurons import IF, LIF, PLIF, BaseNeuron, SpikingQCFS
from mmspike.neurons.functional import INITIAL_CHARGE


def write_soft_reset(neuron: BaseNeuron, shape: Shape, dt: float) -> nir.NIRGraph:
    """The graph of an IF, LIF or PLIF with ``v_reset=None``, or of a SpikingQCFS."""
    nodes = {
        'input': nir.Input(list(shape)),
        'integrator': nir.I(r=full(shape, 1 / dt)),
    }
    if isinstance(neuron, SpikingQCFS):
        worth = neuron.spike_value
        threshold, subtracted = worth * (1 - INITIAL_CHARGE), worth
        nodes['worth'] = nir.Scale(full(shape, worth))
    elif isinstance(neuron, IF):
        threshold = subtracted = neuron.threshold
    elif isinstance(neuron, LIF | PLIF):
        r = resistance(neuron)
        nodes['integrator'] = nir.LI(full(shape, neuron.tau * dt), full(shape, r), full(shape, 0.0))
        threshold = neuron.threshold
        # The membrane leaks before the current arrives, and the current is scaled by r / tau.
        subtracted = threshold * (neuron.tau - 1) / r
    nodes['threshold'] = nir.Threshold(full(shape, threshold))
    nodes['reset'] = nir.Scale(full(shape, -subtracted))
    nodes['output'] = nir.Output(list(shape))
    edges = [
        ('input', 'integrator'),
        ('integrator', 'threshold'),
        ('threshold', 'reset'),
        ('reset', 'integrator'),
    ]
    if 'worth' in nodes:
        edges += [('threshold', 'worth'), ('worth', 'output')]
    else:
        edges += [('threshold', 'output')]
    return nir.NIRGraph(nodes, edges)


def read_soft_reset(graph: nir.NIRGraph, dt: float) -> BaseNeuron | None:
    """The neuron whose graph this is; None if it is another graph."""
    neuron = _guess(graph, dt)
    if neuron is None:
        return None
    shape = tuple(graph.nodes['threshold'].threshold.shape)
    expected = write_soft_reset(neuron, shape, dt)
    return neuron if _equal(graph, expected) else None


def _guess(graph: nir.NIRGraph, dt: float) -> BaseNeuron | None:
    """A neuron from the numbers of three nodes."""
    integrator, fires = graph.nodes.get('integrator'), graph.nodes.get('threshold')
    if not (isinstance(integrator, nir.I | nir.LI) and isinstance(fires, nir.Threshold)):
        return None
    worth = graph.nodes.get('worth')
    if isinstance(worth, nir.Scale):
        same = uniform(worth.scale)
        return SpikingQCFS(init_threshold=same[0]) if same and same[0] > 0 else None
    same = uniform(fires.threshold)
    if not same or same[0] <= 0:
        return None
    if isinstance(integrator, nir.I):
        return IF(threshold=same[0], v_reset=None)
    leaky = uniform(integrator.tau, integrator.r)
    if not leaky or in_steps(leaky[0], dt) < 1:
        return None
    tau, decay_input = in_steps(leaky[0], dt), is_close(leaky[1], 1)
    return LIF(tau=tau, decay_input=decay_input, threshold=same[0], v_reset=None)


def _equal(one: nir.NIRGraph, other: nir.NIRGraph) -> bool:
    """Whether two graphs have the same nodes, numbers and edges."""
    if one.nodes.keys() != other.nodes.keys() or set(one.edges) != set(other.edges):
        return False
    return all(_same_node(one.nodes[name], node) for name, node in other.nodes.items())


def _same_node(one: nir.NIRNode, other: nir.NIRNode) -> bool:
    if type(one) is not type(other):
        return False
    mine, others = (
        {key: x for key, x in vars(node).items() if isinstance(x, np.ndarray)}
        for node in (one, other)
    )
    return mine.keys() == others.keys() and all(
        mine[key].shape == others[key].shape and is_close(mine[key], others[key]) for key in mine
    )
