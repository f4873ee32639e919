"""Small ONNX graphs made by hand, and how a runtime runs one."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir
from torch import Tensor

from mmspike.deploy.lowering import lower_neurons
from mmspike.deploy.marker import DOMAIN, NAME
from mmspike.deploy.runtimes import open_session
from mmspike.deploy.settings import settings_of
from mmspike.neurons import BaseNeuron

FLOAT = ir.TensorType(ir.DataType.FLOAT)


def value(name: str, *shape: int | str) -> ir.Value:
    """An input of a graph, float32."""
    return ir.Value(name=name, type=FLOAT, shape=ir.Shape(shape))


def weights(name: str, array: np.ndarray) -> ir.Value:
    """A constant of a graph."""
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype)
    )


def model_of(
    inputs: list[ir.Value], outputs: list[ir.Value], nodes: list[ir.Node], constants: tuple = ()
) -> ir.Model:
    """A graph with names for everything that has none."""
    for i, out in enumerate(outputs):
        out.name = out.name or f'out{i}'
        out.type = out.type or FLOAT
    graph = ir.Graph(
        inputs, outputs, nodes=nodes, initializers=constants, opset_imports={'': 18, DOMAIN: 1}
    )
    return ir.Model(graph, ir_version=10)


def neuron_node(neuron: BaseNeuron, x: ir.Value, name: str = 'neuron') -> ir.Node:
    """The node that an export has in the place of a neuron."""
    settings = json.dumps(settings_of(neuron, name))
    node = ir.node(NAME, [x], domain=DOMAIN, attributes={'settings': settings})
    node.outputs[0].type, node.outputs[0].shape = FLOAT, x.shape
    return node


def neuron_model(neuron: BaseNeuron, dims: int, *, quantise: bool) -> ir.Model:
    """A graph of nothing but one neuron, as standard operators."""
    node = neuron_node(neuron, value('x', *(f'size{i}' for i in range(dims))))
    model = model_of([node.inputs[0]], [node.outputs[0]], [node])
    lower_neurons(model, quantise=quantise)
    return model


def run_model(model: ir.Model, x: Tensor | np.ndarray, runtime: str) -> list[np.ndarray]:
    """The outputs of a graph with one input."""
    with TemporaryDirectory() as folder:
        ir.save(model, Path(folder, 'graph.onnx'))
        return open_session(Path(folder, 'graph.onnx'), runtime, threads=1)(np.asarray(x))
