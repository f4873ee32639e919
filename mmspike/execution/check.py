"""A check of the actual inputs of all layers: a model runs on spikes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.execution.encodings import ENCODINGS, THERMOMETER
from mmspike.execution.operators import OperatorWatcher, running_layer
from mmspike.execution.spike_driven import get_execution

_BINARY = THERMOMETER.values


class SpikeDrivenError(RuntimeError):
    """A layer that should take spikes took something else."""


@dataclass(frozen=True)
class LayerInput:
    """The inputs of the operators of one layer.

    Attributes:
        layer: Name of the module that ran them.
        operators: Their names.
        binary: Whether every input, on one side at least of a product, was 0 or 1 everywhere.
        declared: Whether the architecture says that this layer is analog.
        spikes: As ``binary``, of the values of the model's execution: in ternary execution an input
            may be -1, 0 or 1, and nothing else; in all others this is the same as ``binary``.
    """

    layer: str
    operators: tuple[str, ...]
    binary: bool
    declared: bool
    spikes: bool


class _Watcher(OperatorWatcher):
    """Notes for each layer its operators, and the values of their factors.

    Args:
        model, layer: See :class:`OperatorWatcher`.
        values: What spikes are.
    """

    def __init__(self, model: nn.Module, layer: Callable[[], str], values: tuple[int, ...]) -> None:
        super().__init__(model, layer)
        self._values = values
        self.seen: dict[str, tuple[set[str], bool, bool]] = {}

    def multiplies(self, layer: str, operator: str, factors: list[Tensor]) -> None:
        operators, binary, spikes = self.seen.get(layer, (set(), True, True))
        binary = binary and any(_holds_only(_BINARY, x) for x in factors)
        spikes = spikes and (binary or any(_holds_only(self._values, x) for x in factors))
        self.seen[layer] = (operators | {operator}, binary, spikes)


def _holds_only(values: tuple[int, ...], x: Tensor) -> bool:
    allowed = x == values[0]
    for value in values[1:]:
        allowed |= x == value
    return bool(allowed.all())


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
    """Run a model and check that every layer with weights, and every product, takes spikes.

    These are binary, or in ternary execution -1, 0 and 1. The check looks below PyTorch's Python
    functions, at the factors of the real multiplications. It does not know where the spikes come
    from. Layers that the architecture leaves analog (``analog_layers``, see
    :func:`declared_analog`) may take any values.

    Args:
        model: A model in evaluation mode, switched by ``set_execution(model, 'spike')`` or to
            another execution on spikes.
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
    encoding = ENCODINGS.get(get_execution(model), THERMOMETER)
    with running_layer(model) as layer, _Watcher(model, layer, encoding.values) as watcher:
        run()
    if not watcher.seen:
        raise ValueError('nothing was multiplied: does `run` call the model?')
    declared = declared_analog(model)
    inputs = [
        LayerInput(layer, tuple(sorted(operators)), binary, layer in declared, spikes)
        for layer, (operators, binary, spikes) in watcher.seen.items()
    ]
    wrong = [
        one.layer or 'the model itself' for one in inputs if not one.spikes and not one.declared
    ]
    if wrong:
        *others, last = encoding.values
        raise SpikeDrivenError(
            f'{len(wrong)} of {len(inputs)} layers took values other than '
            f'{", ".join(map(str, others))} and {last}: '
            f'{", ".join(wrong)}. Is it switched (mmspike.execution.set_execution)? A layer '
            "that the architecture leaves analog has to be listed in its part's analog_layers"
        )
    return inputs
