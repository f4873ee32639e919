"""An operator that stands for a neuron while a network is exported.

``torch.export`` meets no neuron of mmspike, but this operator with the neuron's settings as text.
It arrives in the ONNX graph as one node, which :mod:`mmspike.deploy.lowering` replaces by standard
operators. So T steps are unrolled in the graph alone, and the output of every neuron is known.
"""

import json
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.ann2snn.quantise import replace_modules
from mmspike.deploy.extras import needed
from mmspike.deploy.settings import settings_of
from mmspike.neurons import BaseNeuron

DOMAIN, NAME = 'mmspike', 'Neuron'


@torch.library.custom_op('mmspike_export::neuron', mutates_args=())
def _neuron(x: Tensor, settings: str) -> Tensor:
    raise NotImplementedError('a marker of an export has no values')


@_neuron.register_fake
def _(x: Tensor, settings: str) -> Tensor:
    return torch.empty_like(x)


class Marker(nn.Module):
    """Stands where a neuron stood.

    Args:
        settings: See :func:`~mmspike.deploy.settings.settings_of`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = json.dumps(settings)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, ...)`` to the same shape; only while a network is exported."""
        return _neuron(x, self.settings)


def mark_neurons(model: nn.Module) -> int:
    """Put a :class:`Marker` in the place of every neuron of ``model``.

    Returns:
        Number of neurons.

    Raises:
        ValueError: A neuron cannot be exported; the message names it.
    """
    marked: dict[nn.Module, nn.Module] = {
        module: Marker(settings_of(module, name))
        for name, module in model.named_modules()
        if isinstance(module, BaseNeuron)
    }
    replace_modules(model, marked)
    return len(marked)


def translations() -> dict[Any, Any]:
    """How the exporter of torch writes the operator: as a node ``mmspike::Neuron``.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
    """
    schema_class = needed('onnx').defs.OpSchema
    values = needed('onnxscript').values
    schema = schema_class(
        NAME,
        DOMAIN,
        1,
        inputs=[schema_class.FormalParameter('x', 'T')],
        outputs=[schema_class.FormalParameter('y', 'T')],
        type_constraints=[('T', ['tensor(float)'], '')],
        attributes=[schema_class.Attribute('settings', schema_class.AttrType.STRING)],
    )
    operator = values.Op(values.Opset(DOMAIN, 1), NAME, schema)

    def node(x: Any, settings: str) -> Any:
        return operator(x, settings=settings)

    return {torch.ops.mmspike_export.neuron.default: node}
