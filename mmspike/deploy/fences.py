"""Places in a graph where OpenVINO must not move scales.

Before it runs 8-bit layers, OpenVINO (2026.4 at least) moves the scale behind such a layer past the
operators that follow. Where several operators follow, it scales some of them twice, and an average
of 8-bit integers is rounded to an integer. ``tests/deploy/test_fences.py`` shows both. A maximum
with the lowest number changes nothing, and no scale is moved past it.
"""

from typing import Any

import numpy as np

from mmspike.deploy.graph_builder import GraphBuilder
from mmspike.deploy.integers import weight_layers

LOWEST = float(np.finfo(np.float32).min)


def put_fences(model: Any) -> None:
    """Put fences behind 8-bit layers that several operators read, and before average pools.

    Args:
        model: An ``onnx_ir.Model`` with 8-bit layers; changed in place.
    """
    graph = model.graph
    for layer in list(weight_layers(graph)):
        out = _scaled(layer.node.outputs[0])
        users = list(out.uses())
        if layer.weight.const_value is None and len(users) + (out in graph.outputs) > 1:
            _fence(graph, out, users)
    for node in list(graph):
        if node.op_type == 'AveragePool' and node.inputs[0].producer() is not None:
            _fence(graph, node.inputs[0], [(node, 0)])


def _scaled(value: Any) -> Any:
    """What a value is multiplied to, if its only use is a factor."""
    users = [node for node, _ in value.uses()]
    is_factor = len(users) == 1 and users[0].op_type in ('Mul', 'Div')
    if is_factor and any(x.const_value is not None for x in users[0].inputs):
        return _scaled(users[0].outputs[0])
    return value


def _fence(graph: Any, value: Any, users: list[tuple[Any, int]]) -> None:
    builder = GraphBuilder(graph)
    fenced = builder.op('Max', value, LOWEST)
    fenced.type, fenced.shape = value.type, value.shape
    graph.insert_after(value.producer(), builder.nodes)
    for node, place in users:
        node.replace_input_with(place, fenced)
