"""Exporting a model to ONNX files of standard operators."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import treespec_dumps

from mmspike.ann2snn import fold_batch_norms
from mmspike.deploy.calibration import input_statistics, range_of_images
from mmspike.deploy.extras import needed
from mmspike.deploy.fences import put_fences
from mmspike.deploy.image_sizes import fixed_sizes, free_sizes, needs_fixed_size
from mmspike.deploy.int8_products import sign_right_operands
from mmspike.deploy.int8_weights import quantise_weights
from mmspike.deploy.lowering import lower_neurons
from mmspike.deploy.marker import mark_neurons, translations
from mmspike.deploy.rounding import ROUNDINGS
from mmspike.deploy.unrolled import unrolled
from mmspike.execution import set_execution
from mmspike.hosts import NETWORK, Network, Part, parts_of

OPSET = 18  # what torch's exporter writes without a conversion
PRECISIONS = ('float32', 'int8')


@dataclass
class Exported:
    """One part of a model as an ONNX graph.

    Attributes:
        name: Of the part, see :class:`~mmspike.hosts.Part`.
        model: An ``onnx_ir.Model``.
        neurons: Name to output of its neurons.
        outputs: How its outputs were nested, as text of torch's pytrees.
        int8_layers: Names of the layers with int8 weights.
    """

    name: str
    model: Any
    neurons: dict[str, Any]
    outputs: str
    int8_layers: list[str]


def folded(model: nn.Module, images: Tensor) -> nn.Module:
    """A copy of a host's model for inference, with its norms in the layers before them.

    Args:
        model: See :class:`~mmspike.hosts.Network`.
        images: A batch ``(B, C, H, W)`` or ``(B, T, C, H, W)`` that it takes.
    """
    model = unrolled(model)
    free_sizes(model)
    set_execution(model, 'integer')
    return fold_batch_norms(model, lambda net: Network(net)(images))


def export_parts(
    model: nn.Module,
    images: Tensor,
    *,
    free_size: bool = True,
    precision: str = 'float32',
    int8_input: bool = False,
    int8_read_out: bool = False,
    keep: str | None = None,
    rounding: str = 'nearest',
    calibration: Iterable[Any] = (),
) -> Iterator[Exported]:
    """Export a model, one part after the other.

    Args:
        model: See :class:`~mmspike.hosts.Network`; it is not changed.
        images: A batch of two of a usual size. The batch of the files is free.
        free_size: Leave height and width free as well, where the network allows it.
        precision: ``'float32'``, or ``'int8'``: the spikes in 8 bits, which is exact, and weights
            behind them rounded to int8.
        int8_input: Round the images to 8 bits, in the range that the calibration finds, and the
            weights of the layers that take them. These layers are no spikes: this is not exact.
        int8_read_out: Round the weights of the heads' last layers as well.
        keep: Regular expression: layers whose names it finds keep their float32 weights.
        rounding: How weights become int8, see :data:`~mmspike.deploy.rounding.ROUNDINGS`.
        calibration: Batches of the host's loader, which ``int8_input`` and all roundings but
            ``'nearest'`` need.

    Raises:
        MissingExtraError: A library is not installed.
        ValueError: The precision or rounding is unknown, they do not go together, there are no
            batches for a calibration, or the model cannot be exported.
    """
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be one of {PRECISIONS}, got {precision!r}')
    if rounding not in ROUNDINGS:
        raise ValueError(f'rounding must be one of {ROUNDINGS}, got {rounding!r}')
    if rounding != 'nearest' and precision != 'int8':
        raise ValueError(f"rounding={rounding!r} needs precision='int8', got {precision!r}")
    if int8_input and precision != 'int8':
        raise ValueError(f"int8_input needs precision='int8', got {precision!r}")
    for library in ('onnx', 'onnxscript', 'onnx_ir'):
        needed(library)
    model = folded(model, images)
    parts = list(parts_of(model, images))
    with torch.no_grad():
        for part in parts:  # an export does not say how outputs are nested
            part.module(part.sample)
    batches = list(calibration)
    input_range = range_of_images(model, batches) if int8_input else None
    statistics = {} if rounding == 'nearest' else input_statistics(model, batches)
    mark_neurons(model)
    for part in parts:
        free = _free_dims(part, free_size and not needs_fixed_size(model))
        graph = _graph_of(part, free)
        neurons = lower_neurons(graph, quantise=precision == 'int8')
        rounded = []
        if precision == 'int8':
            head = f'{part.module.head}.' if part.name == NETWORK else part.name
            read_outs = None if int8_read_out else head
            rounded = quantise_weights(
                graph, set(neurons.values()), read_outs, statistics, rounding, keep,
                input_range if part.name == NETWORK else None,
            )  # fmt: skip
            sign_right_operands(graph)
            put_fences(graph)
        _tidy(graph, free)
        yield Exported(part.name, graph, neurons, treespec_dumps(part.module.spec), rounded)


def _free_dims(part: Part, free_size: bool) -> dict[int, str]:
    """The sizes of a part's input that are free: its place and its name."""
    if part.name != NETWORK:
        return {0: 'regions'}
    dims = part.sample.dim()  # (B, C, H, W) or (B, T, C, H, W)
    return {0: 'batch', dims - 2: 'height', dims - 1: 'width'} if free_size else {0: 'batch'}


def _graph_of(part: Part, free: dict[int, str]) -> Any:
    """The ONNX graph of a part, with its neurons as markers."""
    with quiet_exporter(), torch.no_grad():
        program = _program_of(part, free)
        # Without its optimisation, which would undo the markers.
        graph: Any = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
            custom_translation_table=translations(),
        )
        graph = graph.model
        _make_fixed_sizes_numbers(graph.graph)
        _name_weights(graph.graph, part)
        needed('onnxscript.optimizer').optimize(graph)
    return graph


def _program_of(part: Part, free: dict[int, str]) -> torch.export.ExportedProgram:
    """The graph of torch; height and width are fixed if a layer makes plain numbers of them."""
    sizes = dict.fromkeys(free, torch.export.Dim.AUTO)
    program = torch.export.export(
        part.module.eval(), (part.sample,), dynamic_shapes=(sizes,), strict=False
    )
    fixed = fixed_sizes(program, free)
    if 0 in fixed:
        raise ValueError(
            f'the model cannot be exported: a layer makes a plain number of the size of the '
            f'{free[0]}, and the file would take {len(part.sample)} at a time only'
        )
    return _program_of(part, {0: free[0]}) if fixed else program


def _make_fixed_sizes_numbers(graph: Any) -> None:
    """A size that an operation fixed is a number, not a name such as ``'32'``."""
    shape_class = needed('onnx_ir').Shape
    for value in (*graph.inputs, *(out for node in graph for out in node.outputs)):
        if value.shape is not None:
            sizes = (getattr(size, 'value', size) for size in value.shape)
            value.shape = shape_class(int(x) if str(x).isdigit() else x for x in sizes)


def _name_weights(graph: Any, part: Part) -> None:
    """Give weights their names in the host's model, also those that are to be transposed."""
    weights = dict(graph.initializers)
    graph.initializers.clear()
    own, nested = ('', 'model.') if part.name == NETWORK else (f'{part.name}.', 'head.')
    for name, value in weights.items():
        value.name = own + name.removeprefix(nested)
        graph.initializers[value.name] = value
    for node in graph:
        # The optimisation makes a constant of it, by the name of the output.
        if node.op_type == 'Transpose' and node.inputs[0].const_value is not None:
            node.outputs[0].name = f'{node.inputs[0].name}.transposed'


def _tidy(graph: Any, free: dict[int, str]) -> None:
    """Name inputs and outputs; leave out what is not used, and where in Python it came from."""
    ir = needed('onnx_ir')
    needed('onnx_ir.passes.common').RemoveUnusedNodesPass()(graph)
    image = graph.graph.inputs[0]
    image.name = 'regions' if 'regions' in free.values() else 'images'
    sizes = {
        str(size.value): free[i] for i, size in enumerate(image.shape) if not isinstance(size, int)
    }
    for value in (image, *graph.graph.outputs):
        value.shape = ir.Shape([_renamed(size, sizes) for size in value.shape])
    for i, out in enumerate(graph.graph.outputs):
        out.name = f'output{i}'
    for node in graph.graph:
        node.metadata_props.clear()
        node.doc_string = None
        node.name = node.outputs[0].name
    for value in graph.graph.initializers.values():
        value.metadata_props.clear()
    graph.producer_name = 'mmspike'


def _renamed(size: Any, names: dict[str, str]) -> int | str:
    """A size, or a formula of sizes, with the names that it is to have."""
    if isinstance(size, int):
        return size
    return re.sub(r'\w+', lambda word: names.get(word[0], word[0]), str(size.value))


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without the exporter's remarks about its own insides."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
