"""Whether every neuron of a model puts out what the reference's does."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mmspike.neurons import BaseNeuron
from support.reference_cases import Case

Rename = Callable[[str], str | None]


def compare_neurons(
    model: nn.Module,
    case: Case,
    name_of: Rename,
    *,
    kinds: type | tuple[type, ...] = BaseNeuron,
    rel: float = 0.0,
) -> int:
    """Compare the mean output of every neuron with the reference's.

    Args:
        model: The model that runs the case.
        case: The case.
        name_of: From the reference's name of a neuron to ours.
        kinds: Which modules are neurons.
        rel: Relative tolerance, beside the absolute one of 1e-6.

    Returns:
        The number of neurons.
    """
    means = {}
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(
                lambda module, _, out, name=name: means.update({name: out.mean().item()})
            )
    with torch.no_grad():
        model(*case.inputs())
    names, expected = (case.numbers[f'stat_{key}'].tolist() for key in ('names', 'mean'))
    theirs = {name_of(name): mean for name, mean in zip(names, expected, strict=True)}
    assert len(theirs) == len(names)
    assert means == pytest.approx(theirs, rel=rel, abs=1e-6)
    return len(means)


def name_by_layer(layers: dict[str, str], rename_key: Rename) -> Rename:
    """Names of neurons of a pyramid: one stands before a layer, or in q, k, v behind it.

    Args:
        layers: The reference's name of a neuron in its block to that of a weight. ``conv.`` before
            the former stands for a separable convolution.
        rename_key: From the reference's name of a weight to ours.
    """

    def name_of(name: str) -> str:
        place, _, neuron = name.rpartition('.')
        if not place:
            return 'head.neuron'
        layer = layers[f'conv.{neuron}' if place.lower().endswith('.conv') else neuron]
        module = rename_key(f'{place}.{layer}').removesuffix('.weight').rpartition('.')[0]
        if neuron.startswith('head_'):  # of the attention: before q, k and v
            return module.removesuffix('q') + 'neuron'
        return f'{module}.activate'

    return name_of
