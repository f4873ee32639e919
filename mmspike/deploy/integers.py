"""Which values of an ONNX graph hold integers: spikes, and what is made of spikes alone.

It is read off the operators, so that it holds for the file, whoever wrote it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Spikes(NamedTuple):
    """Whole multiples of ``worth``, from 0 to ``most`` times; None is no known limit."""

    worth: float
    most: int | None


class WeightLayer(NamedTuple):
    """A convolution or linear layer of a graph."""

    node: Any
    name: str  # of its module
    weight: Any  # the value of its weights
    data: Any  # the value that it takes
    out_axis: int  # of the weights


# They move, repeat or choose elements of their first input.
MOVES = frozenset(
    {'Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', 'Flatten', 'Slice', 'Gather', 'Split', 'Tile'}
    | {'Expand', 'Identity', 'MaxPool', 'DepthToSpace', 'SpaceToDepth', 'Pad'}
)


def find_integers(graph: Any) -> dict[Any, Spikes]:
    """All values of an ``onnx_ir.Graph`` that hold integers, and what they hold."""
    found: dict[Any, Spikes] = {}
    for node in graph:
        held = [found.get(x) for x in node.inputs if x is not None]
        made = _made(node, held)
        if made is not None:
            found.update(dict.fromkeys(node.outputs, made))
    return found


def _made(node: Any, held: list[Spikes | None]) -> Spikes | None:
    """What a node makes of its inputs; None where it makes no integers."""
    if node.op_type in _SOURCES:
        return _SOURCES[node.op_type](node, held)
    if not held or held[0] is None:
        return None
    if _only_moves(node):
        return held[0]
    factor = _number(node.inputs[1]) if node.op_type in ('Mul', 'Div') else None
    if factor:
        worth = held[0].worth * factor if node.op_type == 'Mul' else held[0].worth / factor
        return Spikes(worth, held[0].most)
    all_held = [one for one in held if one is not None]
    if len(all_held) < len(held) or node.op_type not in _OF_INTEGERS:
        return None
    return _OF_INTEGERS[node.op_type](all_held)


def _number(value: Any) -> float | None:
    """A constant number above 0 in the graph."""
    if value.const_value is None or value.const_value.size != 1:
        return None
    number = float(value.const_value.numpy().item())
    return number if number > 0 else None


def _only_moves(node: Any) -> bool:
    """Whether all elements of the output are some of the input, or 0."""
    if node.op_type == 'Resize':
        return 'mode' not in node.attributes or node.attributes['mode'].as_string() == 'nearest'
    if node.op_type == 'Pad' and len(node.inputs) > 2 and node.inputs[2] is not None:
        filling = node.inputs[2].const_value
        return filling is not None and not filling.numpy().any()
    return node.op_type in MOVES


# --- Where integers begin -------------------------------------------------------------------------


def _rounded(node: Any, held: list[Spikes | None]) -> Spikes | None:
    x = node.inputs[0]
    if node.op_type == 'Floor' and _kind(x) == 'Add':  # rounding half up
        x, half = x.producer().inputs
        if _number(half) != 0.5:
            return None
    if _kind(x) != 'Clip' or len(x.producer().inputs) < 3:
        return None
    low, high = (value.const_value for value in x.producer().inputs[1:3])
    if low is None or high is None or low.numpy() != 0:
        return None
    return Spikes(1.0, int(high.numpy()))


def _compared(node: Any, held: list[Spikes | None]) -> Spikes | None:
    return Spikes(1.0, 1) if _kind(node.inputs[0]) == 'GreaterOrEqual' else held[0]


def _dequantised(node: Any, held: list[Spikes | None]) -> Spikes | None:
    integers, scale = node.inputs[0].producer(), _number(node.inputs[1])
    if integers is None or scale is None or _number(node.inputs[2]):
        return None
    return None if held[0] is None else Spikes(scale, held[0].most)


def _quantised(node: Any, held: list[Spikes | None]) -> Spikes | None:
    zero = node.inputs[2].const_value if len(node.inputs) > 2 else None
    if zero is None or zero.numpy().any():
        return None
    most = None if held[0] is None else held[0].most
    if zero.numpy().dtype == np.uint8:
        return Spikes(1.0, 255 if most is None else most)
    return None if most is None else Spikes(1.0, most)  # with a sign, it may hold less than 0


def _kind(value: Any) -> str | None:
    return None if value.producer() is None else value.producer().op_type


_SOURCES: dict[str, Callable[[Any, list[Spikes | None]], Spikes | None]] = {
    'Round': _rounded,
    'Floor': _rounded,
    'Cast': _compared,
    'QuantizeLinear': _quantised,
    'DequantizeLinear': _dequantised,
}


# --- What stays integer ---------------------------------------------------------------------------


def _together(held: list[Spikes]) -> Spikes | None:
    if len({one.worth for one in held}) > 1:
        return None
    limits = [one.most for one in held if one.most is not None]
    return Spikes(held[0].worth, max(limits) if len(limits) == len(held) else None)


def _sum(held: list[Spikes]) -> Spikes | None:
    together = _together(held)
    return together and Spikes(together.worth, None)


def _product(held: list[Spikes]) -> Spikes:
    left, right = held
    limits = None if left.most is None or right.most is None else left.most * right.most
    return Spikes(left.worth * right.worth, limits)


_OF_INTEGERS: dict[str, Callable[[list[Spikes]], Spikes | None]] = {
    'Concat': _together,
    'Add': _sum,
    'Mul': _product,
    'MatMul': lambda held: Spikes(held[0].worth * held[1].worth, None),
    'ReduceSum': lambda held: Spikes(held[0].worth, None),
}


# --- Layers ---------------------------------------------------------------------------------------

_SUFFIXES = ('.int8', '.transposed', '.weight')


def weight_layers(graph: Any) -> Iterator[WeightLayer]:
    """The convolutions and linear layers with weights of their own, in their order."""
    for node in graph:
        if node.op_type not in _OUT_AXES:
            continue
        for place in (1, 0) if node.op_type == 'MatMul' else (1,):
            stored = stored_weight(node.inputs[place])
            if stored is not None:
                name = stored.name
                for suffix in _SUFFIXES:
                    name = name.removesuffix(suffix)
                axis = _OUT_AXES[node.op_type](node, stored)
                yield WeightLayer(node, name, node.inputs[place], node.inputs[1 - place], axis)
                break


def stored_weight(value: Any) -> Any:
    """The constant that a value is, or is dequantised from; None if it is computed."""
    node = value.producer()
    if node is not None and node.op_type == 'DequantizeLinear':
        value = node.inputs[0]
    return None if value.const_value is None else value


def _gemm_axis(node: Any, weight: Any) -> int:
    return 0 if 'transB' in node.attributes and node.attributes['transB'].as_int() else 1


_OUT_AXES: dict[str, Callable[[Any, Any], int]] = {
    'Conv': lambda node, weight: 0,
    'ConvTranspose': lambda node, weight: 1,
    'Gemm': _gemm_axis,
    'MatMul': lambda node, weight: len(weight.shape) - 1,
}
