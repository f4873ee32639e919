"""Masking ratios of a model's neurons, by groups and by patterns over their names."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
from torch import nn

from mmspike.modules import unwrapped
from mmspike.neurons import BaseNeuron
from mmspike.neurons.masking import check_masking_ratio

# One ratio for all layers, or a profile over their depth.
Ratio = float | Sequence[float]


def set_masking(model: nn.Module, ratios: dict[str, Ratio]) -> None:
    """Choose which share of their spikes the neurons of a model drop at random.

    What is chosen stays when a checkpoint that was made with other ratios is loaded. Neurons that
    are not named are left as they are.

    Args:
        model: A model with neurons of mmspike, wrapped or not.
        ratios: Maps groups or patterns to ratios from 0 up to but not including 1. A key is the
            name of a group (see :func:`masking_groups`; ``'all'`` is one of every model), or a
            shell pattern over the names of neurons, in which ``*`` stands for dots as well
            (``'backbone.stages.3.*'``). A list is a profile over depth, spread evenly over the
            neurons in the order of the model: ``[0.1, 0.5]`` rises from the first to the last.
            Where several keys name a neuron, the last one counts.

    Raises:
        TypeError: A ratio is no number.
        ValueError: A ratio is out of range, or a key names no neuron.

    Example:
        >>> from mmspike.backbones import MetaSpikformer
        >>> from mmspike.masking import get_masking, set_masking
        >>> net = MetaSpikformer('tiny')
        >>> set_masking(net, {'self_attention': 0.75, 'stages.4.blocks.1.attn.*': 0.5})
        >>> set(get_masking(net).values())
        {0.75, 0.5}
    """
    chosen = {
        neuron: ratio
        for key, value in ratios.items()
        for neuron, ratio in _spread(masked_neurons(model, key), value)
    }
    for neuron, ratio in chosen.items():
        neuron.masking_ratio = ratio


def get_masking(model: nn.Module) -> dict[str, float]:
    """The ratios of the neurons that drop spikes, by name, as :func:`set_masking` takes them."""
    return {
        name: neuron.masking_ratio
        for name, neuron in _neurons(model).items()
        if neuron.masking_ratio
    }


def masking_groups(model: nn.Module) -> dict[str, list[str]]:
    """The groups of neurons that a model knows, and the names of their neurons.

    ``'all'`` holds every neuron. The others are declared by parts of the model, in an attribute
    ``neuron_groups``: a dict from names to tuples of patterns over names inside of that part.
    """
    patterns: dict[str, list[str]] = {'all': ['*']}
    for part, module in unwrapped(model).named_modules():
        for group, inside in getattr(module, 'neuron_groups', {}).items():
            patterns.setdefault(group, []).extend(
                f'{part}.{pattern}' if part else pattern for pattern in inside
            )
    names = list(_neurons(model))
    return {group: _matching(names, wanted) for group, wanted in patterns.items()}


def masked_neurons(model: nn.Module, key: str) -> list[BaseNeuron]:
    """The neurons that a group or a pattern names, in the order of the model.

    Raises:
        ValueError: It names none; the message lists what there is.
    """
    neurons, groups = _neurons(model), masking_groups(model)
    names = groups[key] if key in groups else _matching(list(neurons), [key])
    if not names:
        some = ', '.join(list(neurons)[:3])
        raise ValueError(
            f'masking: {key!r} names no neuron of {type(unwrapped(model)).__name__}. Its groups '
            f'are {", ".join(group for group, members in groups.items() if members) or "none"}; '
            f'its {len(neurons)} neurons are {f"{some}, ..." if neurons else "none of mmspike"}'
        )
    return [neurons[name] for name in names]


def profile(value: Ratio, layers: int) -> np.ndarray:
    """Ratios of so many layers: a number for all, or a list spread evenly from first to last.

    Raises:
        TypeError, ValueError: A ratio is not acceptable, or the list is empty.
    """
    if not isinstance(value, list | tuple):
        return np.full(layers, check_masking_ratio(value))
    if not value:
        raise ValueError('a profile of masking ratios needs at least one of them, got none')
    points = [check_masking_ratio(ratio) for ratio in value]
    return np.interp(np.linspace(0, 1, layers), np.linspace(0, 1, len(points)), points)


def _spread(neurons: list[BaseNeuron], value: Ratio) -> list[tuple[BaseNeuron, float]]:
    return list(zip(neurons, profile(value, len(neurons)).tolist(), strict=True))


def _neurons(model: nn.Module) -> dict[str, BaseNeuron]:
    return {
        name: module
        for name, module in unwrapped(model).named_modules()
        if isinstance(module, BaseNeuron)
    }


def _matching(names: list[str], patterns: list[str]) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
