"""Classifiers of the reference's pyramids: their heads, and the steps of their conversion."""

from collections.abc import Callable

from torch import Tensor, nn

from mmspike.converters.families import Family
from mmspike.converters.pyramid import with_2d_pointwise
from mmspike.converters.weights import Conversion, check_family, fit_to_model, rename
from mmspike.neurons import BaseNeuron

# A classifier, and one that learned from a teacher.
_HEADS = {'head.': 'head.fc.', 'head_kd.': 'head.fc_distill.'}


def convert_pyramid_classifier(
    weights: dict[str, Tensor],
    family: Family,
    rename_key: Callable[[str], str | None],
    backbone_for: Callable[[dict[str, Tensor]], tuple[nn.Module, str | dict]],
    *,
    neuron: BaseNeuron,
    head_neuron: BaseNeuron,
) -> Conversion:
    """Rename the weights of a classifier with a pyramid.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        family: The family that they have to be of.
        rename_key: From a name of the reference's to ours; None for a name without a place.
        backbone_for: Makes the backbone for renamed weights, and tells its architecture.
        neuron: A neuron of the backbone.
        head_neuron: The neuron before the classifier.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that the model never has.
    """
    weights = check_family(weights, family)
    renamed, tensors, unexpected = rename(weights, rename_key)
    tensors = with_2d_pointwise(tensors)
    backbone, arch = backbone_for(tensors)
    head = nn.ModuleDict(dict(neuron=head_neuron))
    model = nn.ModuleDict(dict(backbone=backbone, head=head))
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=[*model.state_dict(), *_layers(tensors)],
        unexpected=unexpected,
        arch=arch,
        meta=dict(neuron=neuron.describe(), head_neuron=head_neuron.describe()),
    )


def rename_classifier(key: str) -> str | None:
    """Name of ours for a name of a reference's one or two classifiers; None if it is of neither."""
    for old, new in _HEADS.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return None


def _layers(tensors: dict[str, Tensor]) -> list[str]:
    """Keys of the classifier, and of the second one where there is any of it."""
    second = any(key.startswith(_HEADS['head_kd.']) for key in tensors)
    layers = [_HEADS['head.'], *([_HEADS['head_kd.']] if second else [])]
    return [layer + part for layer in layers for part in ('weight', 'bias')]
