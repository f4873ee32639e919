"""Weights as 8-bit integers, behind neurons."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmspike.deploy.bias_correction import mean_errors
from mmspike.deploy.graph_builder import GraphBuilder
from mmspike.deploy.integers import MOVES, WeightLayer, find_integers, weight_layers
from mmspike.deploy.lowering import LARGEST


def quantise_weights(
    model: Any,
    neurons: set[Any],
    read_outs: str | None,
    means: Mapping[str, np.ndarray] | None = None,
) -> list[str]:
    """Round the weights of all layers that take spikes to int8, each output channel by its scale.

    The scale maps the largest weight of a channel to 127. What a layer takes is exact already.
    Layers that take real numbers, such as the first one, stay float32.

    Args:
        model: An ``onnx_ir.Model`` whose neurons carry 8 bits; changed in place.
        neurons: Their outputs.
        read_outs: What the names of a head's layers begin with: those that no neuron follows stay
            float32. None rounds these too.
        means: Name of a layer to the mean of its input, to correct the biases of convolutions and
            linear layers; None leaves them.

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
        original = layer.weight.const_value.numpy()
        integers, scale = rounded_weights(original, layer.out_axis)
        weight = _dequantised(builder, layer, integers, scale)
        layer.node.replace_input_with(_place(layer.node, layer.weight), weight)
        if means is not None and layer.name in means and layer.out_axis == 0:
            shape = [-1] + [1] * (original.ndim - 1)
            lost = mean_errors(original, integers * scale.reshape(shape), means[layer.name])
            _add_to_bias(builder, layer, lost)
        graph.insert_before(layer.node, builder.nodes)
        rounded.append(layer.name)
    return list(dict.fromkeys(rounded))  # one that is used at several levels counts once


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


def _dequantised(
    builder: GraphBuilder, layer: WeightLayer, integers: np.ndarray, scale: np.ndarray
) -> Any:
    name = layer.weight.name
    return builder.op(
        'DequantizeLinear',
        builder.constant(integers, np.int8, f'{name}.int8'),
        builder.constant(scale, name=f'{name}.scale'),
        builder.constant(np.zeros(scale.shape), np.int8, f'{name}.zero'),
        axis=layer.out_axis,
    )


def _add_to_bias(builder: GraphBuilder, layer: WeightLayer, more: np.ndarray) -> None:
    node = layer.node
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and bias.const_value is None:
        return
    if bias is None:
        name = f'{layer.name}.bias'
    else:
        name, more = bias.name, bias.const_value.numpy() + more
    corrected = builder.constant(more, name=f'{name}.corrected')
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, corrected)
