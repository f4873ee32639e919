"""Writing nodes into an ONNX graph."""

from typing import Any

import numpy as np

from mmspike.deploy.extras import needed

FLOAT32 = 1  # TensorProto.FLOAT


class GraphBuilder:
    """Collects new nodes and constants of a graph.

    Args:
        graph: An ``onnx_ir.Graph``; constants are shared by name.
    """

    def __init__(self, graph: Any) -> None:
        self._ir = needed('onnx_ir')
        self._graph = graph
        self.nodes: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float32, name: str | None = None) -> Any:
        """A number or an array as a value of the graph."""
        array: np.ndarray = np.asarray(value, dtype)
        if name is None:
            name = f'{array.dtype}:{array.item()!r}'
        if name not in self._graph.initializers:
            tensor = self._ir.tensor(array, name=name)
            self._graph.initializers[name] = self._ir.Value(
                name=name, const_value=tensor, shape=tensor.shape,
                type=self._ir.TensorType(tensor.dtype),
            )  # fmt: skip
        return self._graph.initializers[name]

    def op(self, kind: str, *inputs: Any, **attributes: Any) -> Any:
        """Add a node of the standard operators; numbers among its inputs become constants."""
        (out,) = self.ops(kind, *inputs, count=1, **attributes)
        return out

    def ops(self, kind: str, *inputs: Any, count: int, **attributes: Any) -> list[Any]:
        """Add a node with ``count`` outputs."""
        node = self._ir.node(
            kind,
            [self.constant(x) if isinstance(x, int | float) else x for x in inputs],
            attributes=attributes or None,
            num_outputs=count,
        )
        self.nodes.append(node)
        return list(node.outputs)

    def cast(self, x: Any) -> Any:
        """``x`` as float32."""
        return self.op('Cast', x, to=FLOAT32)

    def rounded(self, x: Any, least: float, largest: float) -> Any:
        """Real numbers of a range, rounded to 256 levels, of which one is 0."""
        least, largest = min(least, 0.0), max(largest, 0.0)
        scale = max(largest - least, 1e-12) / 255
        zero = self.constant(round(-least / scale), np.uint8)
        integers = self.op('QuantizeLinear', x, self.constant(scale), zero)
        return self.op('DequantizeLinear', integers, self.constant(scale), zero)

    def quantised(self, x: Any, scale: float, worth: float) -> Any:
        """Multiples of ``scale`` as 8-bit integers, and these times ``worth``."""
        zero = self.constant(0, np.uint8)
        integers = self.op('QuantizeLinear', x, self.constant(scale), zero)
        return self.op('DequantizeLinear', integers, self.constant(worth), zero)
