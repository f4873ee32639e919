"""Products of two spike trains, such as those of an attention, on 8-bit integers."""

from typing import Any

import numpy as np

from mmspike.deploy.graph_builder import GraphBuilder
from mmspike.deploy.integers import MOVES, find_integers

LARGEST = 127  # of 8 bits with a sign


def sign_right_operands(model: Any) -> int:
    """Give the second spike train of every product a sign, as the runtimes' kernels want it.

    They multiply integers without a sign by integers with one. Values stay as they are.

    Args:
        model: An ``onnx_ir.Model`` whose neurons carry 8 bits; changed in place.

    Returns:
        Number of products on integers.
    """
    integers, products = find_integers(model.graph), 0
    for node in list(model.graph):
        if node.op_type != 'MatMul' or any(x not in integers for x in node.inputs):
            continue
        right = _pair_behind(node.inputs[1])
        if right is None or _pair_behind(node.inputs[0], alone=False) is None:
            continue
        if (integers[node.inputs[1]].most or 255) > LARGEST:
            continue
        zero = GraphBuilder(model.graph).constant(0, np.int8)
        quantise = right.inputs[0].producer()
        quantise.replace_input_with(2, zero)
        quantise.outputs[0].dtype = zero.dtype
        right.replace_input_with(2, zero)
        products += 1
    return products


def _pair_behind(value: Any, *, alone: bool = True) -> Any:
    """The DequantizeLinear that a value comes from; None if others take its integers as well."""
    while True:
        if alone and len(value.uses()) != 1:
            return None
        node = value.producer()
        if node is None:
            return None
        if node.op_type == 'DequantizeLinear':
            return node
        if node.op_type not in MOVES:
            return None
        value = node.inputs[0]
