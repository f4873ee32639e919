"""What is called integers has integers in it when the graph runs."""

import numpy as np
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from mmspike.deploy.integers import find_integers
from mmspike.deploy.lowering import lower_neurons
from mmspike.neurons import IF, ILIF, QCFS, SFA
from support.onnx_graphs import model_of, neuron_node, run_model, value, weights

SHAPE = (2, 2, 4, 4)
NEURONS = {
    'quarters': SFA(D=4),
    'thirds': SFA(D=3, rounding='half_up'),
    'ones': IF(timesteps=2),
    'integers': ILIF(timesteps=2, D=4),
    'levels': QCFS(levels=8, init_threshold=1.5),
}
KERNEL = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
# Operators on one map that keep its shape.
ONE = {
    'Transpose': dict(perm=[0, 1, 3, 2]),
    'MaxPool': KERNEL,
    'AveragePool': KERNEL,
    'Identity': {},
    'Relu': {},
    'Neg': {},
    'Sigmoid': {},
}
TWO = ['Add', 'Mul', 'MatMul', 'Sub', 'Max']
NUMBERS = {'two': 2.0, 'third': 1 / 3, 'minus': -1.0}


class Graph:
    """Grows by random nodes."""

    def __init__(self) -> None:
        self.x = value('x', *SHAPE)
        self.values = [self.x]
        self.nodes: list[ir.Node] = []
        self.constants: dict[str, ir.Value] = {}

    def add(self, kind: str, *inputs: ir.Value | None, **attributes) -> None:
        self.put(ir.node(kind, inputs, attributes=attributes or None))

    def put(self, node: ir.Node) -> None:
        out = self.between(node)
        out.type, out.shape = self.x.type, self.x.shape
        self.values.append(out)

    def between(self, node: ir.Node) -> ir.Value:
        """Of another shape."""
        self.nodes.append(node)
        node.outputs[0].name = f'v{len(self.nodes)}'
        return node.outputs[0]

    def constant(self, name: str, array) -> ir.Value:
        return self.constants.setdefault(name, weights(name, np.asarray(array)))

    def grow(self, draw) -> None:
        x = draw(st.sampled_from(self.values))
        kind = draw(st.sampled_from(['neuron', 'one', 'two', 'number', 'padded', 'halves', 'cat']))
        if kind == 'neuron':
            name = draw(st.sampled_from(list(NEURONS)))
            self.put(neuron_node(NEURONS[name], x, f'{name}{len(self.nodes)}'))
        elif kind == 'one':
            name = draw(st.sampled_from(list(ONE)))
            self.add(name, x, **ONE[name])
        elif kind == 'two':
            self.add(draw(st.sampled_from(TWO)), x, draw(st.sampled_from(self.values)))
        elif kind == 'number':
            name = draw(st.sampled_from(list(NUMBERS)))
            number = self.constant(name, np.float32(NUMBERS[name]))
            self.add(draw(st.sampled_from(['Mul', 'Div', 'Add'])), x, number)
        elif kind == 'padded':  # by a number, in the place of the first rows
            name = draw(st.sampled_from(['', *NUMBERS]))
            filling = [self.constant(name, np.float32(NUMBERS[name]))] if name else []
            pads = self.constant('pads', np.array([0, 0, 2, 0, 0, 0, -2, 0]))
            self.add('Pad', x, pads, *filling)
        elif kind == 'halves':
            sizes = self.constant('sizes', np.array(SHAPE))
            mode = draw(st.sampled_from(['nearest', 'linear']))
            halves = self.constant('half', np.array([1, 1, 0.5, 0.5], np.float32))
            small = self.between(ir.node('Resize', [x, None, halves], attributes={'mode': mode}))
            self.add('Resize', small, None, None, sizes, mode=mode)
        else:
            other = draw(st.sampled_from(self.values))
            both = self.between(ir.node('Concat', [x, other], attributes={'axis': 0}))
            starts, ends = self.constant('starts', [1]), self.constant('ends', [3])
            self.add('Slice', both, starts, ends)

    def model(self) -> ir.Model:
        model = model_of([self.x], [], self.nodes, tuple(self.constants.values()))
        self.neurons = lower_neurons(model, quantise=False)
        return model


@st.composite
def graphs(draw):
    graph = Graph()
    graph.put(neuron_node(NEURONS[draw(st.sampled_from(list(NEURONS)))], graph.x, 'first'))
    for _ in range(draw(st.integers(1, 8))):
        graph.grow(draw)
    return graph


@given(graphs(), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_integers_are_integers(graph, seed):
    model = graph.model()
    found = find_integers(model.graph)
    assert set(graph.neurons.values()) <= set(found)
    model.graph.outputs.extend(found)
    for out in found:
        out.type = out.type or graph.x.type
    x = np.random.default_rng(seed).normal(0, 2, SHAPE).astype(np.float32)
    arrays = run_model(model, x, 'onnxruntime')
    for (out, spikes), array in zip(found.items(), arrays, strict=True):
        counts = array.astype(np.float64) / spikes.worth
        assert np.allclose(counts, np.rint(counts), rtol=1e-5, atol=1e-4), out
        assert counts.min() >= 0, out
        assert spikes.most is None or np.rint(counts).max() <= spikes.most, out
