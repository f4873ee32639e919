"""Weights as 8-bit integers, behind neurons."""

import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from mmspike.deploy.calibration import Statistics
from mmspike.deploy.graph_builder import GraphBuilder
from mmspike.deploy.integers import MOVES, Spikes, WeightLayer, find_integers, weight_layers
from mmspike.deploy.lowering import LARGEST
from mmspike.deploy.rounding import mean_errors, nearest, scales, with_feedback


def quantise_weights(
    model: Any,
    neurons: set[Any],
    read_outs: str | None,
    statistics: Mapping[str, Statistics],
    rounding: str,
    keep: str | None = None,
    input_range: tuple[float, float] | None = None,
) -> list[str]:
    """Round the weights of all layers that take spikes to int8, each output channel by its scale.

    The scale maps the largest weight of a channel to 127. What a layer takes is exact already.
    Layers that take real numbers stay float32, but for those that take the image itself, if its
    range is given: then the image is rounded to 8 bits.

    Args:
        model: An ``onnx_ir.Model`` whose neurons carry 8 bits; changed in place.
        neurons: Their outputs.
        read_outs: What the names of a head's layers begin with: those that no neuron follows stay
            float32. None rounds these too.
        statistics: Name of a layer to what is known of its inputs.
        rounding: See :data:`~mmspike.deploy.rounding.ROUNDINGS`; to nearest where nothing is known.
        keep: Regular expression: layers whose names it finds stay float32.
        input_range: Least and largest number of images.

    Returns:
        Names of the rounded layers.
    """
    graph, names = model.graph, []
    rounded: dict[Any, tuple[np.ndarray, np.ndarray, np.ndarray | None]] = {}
    found = find_integers(graph)
    last = set() if read_outs is None else _last_layers(graph, neurons)
    for layer in list(weight_layers(graph)):
        spikes = found.get(layer.data)
        is_read_out = read_outs is not None and layer.name.startswith(read_outs)
        takes_image = input_range is not None and _is_image(layer.data, graph)
        if not takes_image and (spikes is None or not 0 < (spikes.most or 0) <= LARGEST):
            continue
        if keep is not None and re.search(keep, layer.name):
            continue
        if is_read_out and layer.node in last:
            continue
        builder = GraphBuilder(graph)
        if takes_image:
            data = builder.rounded(layer.data, *cast(tuple, input_range))
            layer.node.replace_input_with(_place(layer.node, layer.data), data)
        elif not _is_carried_in_8_bits(layer.data):
            spikes = cast(Spikes, spikes)
            data = builder.quantised(layer.data, spikes.worth, spikes.worth)
            layer.node.replace_input_with(_place(layer.node, layer.data), data)
        if layer.weight not in rounded:  # a head uses one at several levels
            known = None if layer.out_axis else statistics.get(layer.name)
            rounded[layer.weight] = _rounded(layer, known, rounding)
            names.append(layer.name)
        integers, scale, lost = rounded[layer.weight]
        weight = _dequantised(builder, layer, integers, scale)
        layer.node.replace_input_with(_place(layer.node, layer.weight), weight)
        if lost is not None:
            _add_to_bias(builder, layer, lost)
        graph.insert_before(layer.node, builder.nodes)
    return names


def _place(node: Any, value: Any) -> int:
    return next(i for i, x in enumerate(node.inputs) if x is value)


def _is_carried_in_8_bits(value: Any) -> bool:
    """Whether a value comes from a Q/DQ pair by operators that only move elements."""
    node = value.producer()
    while node is not None and node.op_type in MOVES:
        node = node.inputs[0].producer()
    return node is not None and node.op_type == 'DequantizeLinear'


def _is_image(value: Any, graph: Any) -> bool:
    """Whether a value holds elements of the input."""
    while value.producer() is not None and value.producer().op_type in MOVES | {'Concat'}:
        value = value.producer().inputs[0]
    return any(value is x for x in graph.inputs)


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


def _rounded(
    layer: WeightLayer, known: Statistics | None, rounding: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rounded weights, their scales, and what the outputs lose in the mean, if it is known."""
    original, axis = layer.weight.const_value.numpy(), layer.out_axis
    scale = scales(original, axis)
    if rounding == 'feedback' and known is not None and known.moments is not None:
        integers = with_feedback(original, scale, known)
    else:
        integers = nearest(original, scale, axis)
    if known is None or rounding == 'nearest':
        return integers, scale, None
    shape = [-1] + [1] * (original.ndim - 1)
    return integers, scale, mean_errors(original, integers * scale.reshape(shape), known)


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
