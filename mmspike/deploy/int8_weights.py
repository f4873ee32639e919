"""Weights as 8-bit integers, behind neurons."""

from typing import Any

import numpy as np

from mmspike.deploy.graph_builder import GraphBuilder
from mmspike.deploy.integers import MOVES, WeightLayer, find_integers, weight_layers
from mmspike.deploy.lowering import LARGEST


def quantise_weights(model: Any, neurons: set[Any], read_outs: str | None) -> list[str]:
    """Round the weights of all layers that take spikes to int8, each output channel by its scale.

    The scale maps the largest weight of a channel to 127. What a layer takes is exact already.
    Layers that take real numbers, such as the first one, stay float32.

    Args:
        model: An ``onnx_ir.Model`` whose neurons carry 8 bits; changed in place.
        neurons: Their outputs.
        read_outs: What the names of a head's layers begin with: those that no neuron follows stay
            float32. None rounds these too.

    Returns:
        Names of the rounded layers.
    """
    graph, rounded = model.graph, []
    found = find_integers(graph)
    last = set() if read_outs is None else _last_layers(graph, neurons)
    for layer in list(weight_layers(graph)):
        spikes = found.get(layer.data)
        is_read_out = read_outs is not None and layer.name.startswith(read_outs)
        if spikes is None or not 0 < (spikes.most or 0) <= LARGEST:
            continue
        if is_read_out and layer.node in last:
            continue
        builder = GraphBuilder(graph)
        if not _is_carried_in_8_bits(layer.data):
            data = builder.quantised(layer.data, spikes.worth, spikes.worth)
            layer.node.replace_input_with(_place(layer.node, layer.data), data)
        weight = _dequantised(builder, layer)
        layer.node.replace_input_with(_place(layer.node, layer.weight), weight)
        graph.insert_before(layer.node, builder.nodes)
        rounded.append(layer.name)
    return rounded


def _place(node: Any, value: Any) -> int:
    return next(i for i, x in enumerate(node.inputs) if x is value)


def _is_carried_in_8_bits(value: Any) -> bool:
    """Whether a value comes from a Q/DQ pair by operators that only move elements."""
    node = value.producer()
    while node is not None and node.op_type in MOVES:
        node = node.inputs[0].producer()
    return node is not None and node.op_type == 'DequantizeLinear'


def _last_layers(graph: Any, neurons: set[Any]) -> set[Any]:
    """The nodes between the last neurons and the outputs of the graph."""
    seen: set[Any] = set()
    waiting = list(graph.outputs)
    while waiting:
        value = waiting.pop()
        node = None if value in neurons else value.producer()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(x for x in node.inputs if x is not None)
    return seen


def rounded_weights(weight: np.ndarray, out_axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights as int8 from -127 to 127, and the scale of every output channel."""
    others = tuple(i for i in range(weight.ndim) if i != out_axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    shape = [-1 if i == out_axis else 1 for i in range(weight.ndim)]
    return np.rint(weight / scale.reshape(shape)).clip(-127, 127).astype(np.int8), scale


def _dequantised(builder: GraphBuilder, layer: WeightLayer) -> Any:
    integers, scale = rounded_weights(layer.weight.const_value.numpy(), layer.out_axis)
    name = layer.weight.name
    return builder.op(
        'DequantizeLinear',
        builder.constant(integers, np.int8, f'{name}.int8'),
        builder.constant(scale, name=f'{name}.scale'),
        builder.constant(np.zeros(scale.shape), np.int8, f'{name}.zero'),
        axis=layer.out_axis,
    )
