"""A check of the actual inputs of all layers: a model runs on binary spikes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.execution.operators import OperatorWatcher, running_layer


class SpikeDrivenError(RuntimeError):
    """A layer that should take binary spikes took something else."""


@dataclass(frozen=True)
class LayerInput:
    """The inputs of the operators of one layer.

    Attributes:
        layer: Name of the module that ran them.
        operators: Their names.
        binary: Whether every input, on one side at least of a product, was 0 or 1 everywhere.
        declared: Whether the architecture says that this layer is analog.
    """

    layer: str
    operators: tuple[str, ...]
    binary: bool
    declared: bool


class _Watcher(OperatorWatcher):
    """Notes for each layer its operators, and whether all of them had binary factors."""

    def __init__(self, model: nn.Module, layer: Callable[[], str]) -> None:
        super().__init__(model, layer)
        self.seen: dict[str, tuple[set[str], bool]] = {}

    def multiplies(self, layer: str, operator: str, factors: list[Tensor]) -> None:
        operators, binary = self.seen.get(layer, (set(), True))
        self.seen[layer] = (operators | {operator}, binary and any(map(_is_binary, factors)))


def _is_binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def declared_analog(model: nn.Module) -> set[str]:
    """The analog layers of a model's parts, from their attribute ``analog_layers``.

    It lists names of modules inside the part that has it: a backbone lists its first convolution.
    """
    return {
        f'{name}.{layer}' if name else layer
        for name, module in model.named_modules()
        for layer in getattr(module, 'analog_layers', ())
    }


@torch.no_grad()
def check_spike_driven(model: nn.Module, run: Callable[[], Any]) -> list[LayerInput]:
    """Run a model and check that every layer with weights, and every product, takes binary spikes.

    It looks below PyTorch's Python functions, at the factors of the real multiplications. It does
    not know where the spikes come from. Layers that the architecture leaves analog
    (``analog_layers``, see :func:`declared_analog`) may take any values.

    Args:
        model: A model in evaluation mode, switched by ``set_execution(model, 'spike')``.
        run: Calls the model, for instance ``lambda: model(images)``.

    Returns:
        The inputs of each layer, in the order in which the layers first ran.

    Raises:
        SpikeDrivenError: A layer that is not declared analog was given something else; the message
            names all of them.
        ValueError: The model is in training mode, or nothing was multiplied.
    """
    if model.training:
        raise ValueError('spike-driven execution is for evaluation: call model.eval() first')
    with running_layer(model) as layer, _Watcher(model, layer) as watcher:
        run()
    if not watcher.seen:
        raise ValueError('nothing was multiplied: does `run` call the model?')
    declared = declared_analog(model)
    inputs = [
        LayerInput(layer, tuple(sorted(operators)), binary, layer in declared)
        for layer, (operators, binary) in watcher.seen.items()
    ]
    wrong = [
        one.layer or 'the model itself' for one in inputs if not one.binary and not one.declared
    ]
    if wrong:
        raise SpikeDrivenError(
            f'{len(wrong)} of {len(inputs)} layers took values other than 0 and 1: '
            f'{", ".join(wrong)}. Is it switched (mmspike.execution.set_execution)? A layer '
            "that the architecture leaves analog has to be listed in its part's analog_layers"
        )
    return inputs
