"""Comparing an exported file with the checkpoint that it was made of, neuron by neuron."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmspike.deploy.extras import needed
from mmspike.deploy.integers import find_integers, weight_layers
from mmspike.deploy.metadata import Metadata
from mmspike.deploy.onnx_export import folded
from mmspike.deploy.onnx_files import part_path, read_onnx
from mmspike.deploy.runtimes import Session, open_session
from mmspike.hosts import NETWORK, Part, parts_of
from mmspike.neurons import BaseNeuron


@dataclass
class NeuronAgreement:
    """How often a neuron fires the same integer in both."""

    equal: int = 0
    total: int = 0
    largest: int = 0  # difference of integers

    @property
    def share(self) -> float:
        return self.equal / self.total if self.total else 1.0


@dataclass
class PartAgreement:
    """What one file and the checkpoint say to the same inputs.

    Attributes:
        name: Of the part.
        neurons: Name to agreement, in the order of the network.
        difference: Largest difference of an output.
        largest: Largest output of the checkpoint, for scale.
        inputs: Number of images, or of regions in all time steps.
    """

    name: str
    neurons: dict[str, NeuronAgreement] = field(
        default_factory=lambda: defaultdict(NeuronAgreement)
    )
    difference: float = 0.0
    largest: float = 0.0
    inputs: int = 0

    @property
    def relative_difference(self) -> float:
        return self.difference / self.largest if self.largest else self.difference


class Comparison:
    """Runs a checkpoint's model and its exported files on the same data.

    Args:
        model: The model with the weights that were exported.
        path: The network's file.
        images: A batch of prepared images.
        runtime: See :func:`~mmspike.deploy.runtimes.open_session`.
        threads: See :func:`~mmspike.deploy.runtimes.open_session`.
    """

    def __init__(
        self, model: BaseModel, path: Path, images: Tensor, runtime: str, threads: int | None
    ) -> None:
        self.model: Any = folded(model, images)
        self._parts = list(parts_of(self.model, images))
        self._watched = {part.name: WatchedFile(part_path(path, part.name), runtime, threads)
                         for part in self._parts}  # fmt: skip
        self.found = {part.name: PartAgreement(part.name) for part in self._parts}

    @torch.no_grad()
    def add(self, batch: Any) -> None:
        """Compare on a batch of the host's loader."""
        for part, inputs in self._inputs(batch):
            with _Fired(part.module, self.model) as fired:
                ours = part.module(inputs)
            theirs, fires = self._watched[part.name].run(inputs.numpy())
            agreement = self.found[part.name]
            agreement.inputs += len(inputs)
            for mine, their in zip(ours, theirs, strict=True):
                gap = np.abs(mine.numpy() - their).max(initial=0)
                agreement.difference = max(agreement.difference, float(gap))
                agreement.largest = max(agreement.largest, float(mine.abs().max()))
            for name, (integers, worth) in fired.items():
                _count(agreement.neurons[name], integers, fires[name] / worth)

    def _inputs(self, batch: Any) -> Iterator[tuple[Part, Tensor]]:
        """What each part takes when the model runs on a batch."""
        taken: list[tuple[Part, Tensor]] = []
        handles = []
        for part in self._parts:
            module: Any = self.model.backbone if part.name == NETWORK else part.module.head

            def note(module: nn.Module, args: tuple, part: Part = part) -> None:
                taken.append((part, args[0]))

            handles.append(module.register_forward_pre_hook(note))
        try:
            self.model.test_step(batch)
        finally:
            for handle in handles:
                handle.remove()
        yield from taken


def _count(agreement: NeuronAgreement, ours: np.ndarray, theirs: np.ndarray) -> None:
    gap = np.abs(ours - np.rint(theirs))
    agreement.equal += int((gap == 0).sum())
    agreement.total += gap.size
    agreement.largest = max(agreement.largest, int(gap.max(initial=0)))


class _Fired(dict):
    """What the neurons of a part fire while it runs: name to integers and their worth."""

    def __init__(self, part: nn.Module, model: nn.Module) -> None:
        super().__init__()
        names = {module: name for name, module in model.named_modules()}
        self._handles = [
            module.register_forward_hook(self._noting(names[module]))
            for module in part.modules()
            if isinstance(module, BaseNeuron)
        ]

    def _noting(self, name: str) -> Any:
        calls = 0

        def note(neuron: BaseNeuron, args: tuple, out: Tensor) -> None:
            nonlocal calls
            calls += 1
            key = name + (f':{calls}' if calls > 1 else '')
            worth = neuron.spike_value
            self[key] = np.rint(out.numpy() / worth), worth

        return note

    def __enter__(self) -> '_Fired':
        return self

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()


class WatchedFile:
    """An exported file that puts out what its neurons fire as well.

    Args:
        path: The file.
        runtime: See :func:`~mmspike.deploy.runtimes.open_session`.
        threads: See :func:`~mmspike.deploy.runtimes.open_session`.
    """

    def __init__(self, path: Path, runtime: str, threads: int | None) -> None:
        model, metadata = read_onnx(path)
        self._neurons = metadata.neurons
        value_of = needed('onnx').helper.make_tensor_value_info
        self._outputs = len(model.graph.output)
        model.graph.output.extend(value_of(name, 1, None) for name in metadata.neurons)
        with TemporaryDirectory() as folder:
            watched = Path(folder, 'watched.onnx')
            watched.write_bytes(model.SerializeToString())
            self._session: Session = open_session(watched, runtime, threads)

    def run(self, x: np.ndarray) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """The outputs, and what every neuron puts out."""
        out = self._session(x)
        fires = zip(self._neurons, out[self._outputs :], strict=True)
        return out[: self._outputs], dict(fires)


@dataclass
class LayerInput:
    """What a layer with weights takes in an exported file.

    Attributes:
        layer: Its name.
        takes: ``'0..4'``, ``'the input'`` or ``'real numbers'``.
        weights: ``'float32'`` or ``'int8'``.
    """

    layer: str
    takes: str
    weights: str


def layer_inputs(path: Path) -> Iterable[LayerInput]:
    """What all layers with weights of a file take, read off its graph alone."""
    model = needed('onnx_ir').load(path)
    integers = find_integers(model.graph)
    images = set(model.graph.inputs)
    for layer in weight_layers(model.graph):
        spikes = integers.get(layer.data)
        if spikes is not None:
            takes = f'0..{"" if spikes.most is None else spikes.most}'
        else:
            takes = 'the input' if _source(layer.data) in images else 'real numbers'
        weights = 'int8' if layer.weight.const_value is None else 'float32'
        yield LayerInput(layer.name, takes, weights)


def _source(value: Any) -> Any:
    """Where a value comes from, by operators that compute nothing."""
    while value.producer() is not None and value.producer().op_type in _COPIES:
        value = value.producer().inputs[0]
    return value


_COPIES = ('Reshape', 'Transpose', 'Tile', 'Expand', 'Identity', 'Squeeze', 'Unsqueeze', 'Cast')


def check_same_model(path: Path, metadata: Metadata, fingerprint: str, checkpoint: str) -> None:
    """Check that a file was made of a checkpoint.

    Raises:
        ValueError: It was made of other weights.
    """
    if metadata.model != fingerprint:
        raise ValueError(
            f'{path} was exported from other weights ({metadata.model}) than those of '
            f'{checkpoint} ({fingerprint}): export that checkpoint, or name the one it was made of'
        )
