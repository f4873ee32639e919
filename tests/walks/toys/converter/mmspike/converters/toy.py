"""Published weights of the toy: a linear classifier under other names."""

import os

from torch import Tensor, nn

from mmspike.converters.families import Family, declare
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    read_weights,
    rename,
    write_classifier,
)

FAMILY = declare(Family('a toy classifier', (r'^toy\.body\.',)))


def convert_toy(weights: dict[str, Tensor]) -> Conversion:
    """Rename the weights of a toy classifier.

    Args:
        weights: Name to tensor, as in the published files.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like.
    """
    weights = check_family(weights, FAMILY)
    renamed, tensors, unexpected = rename(weights, rename_key)
    features = tensors['backbone.weight'].shape[1]
    model = nn.ModuleDict(dict(backbone=nn.Linear(features, features)))
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=[*model.state_dict(), 'head.fc.weight', 'head.fc.bias'],
        unexpected=unexpected,
        arch='toy',
    )


def convert_toy_file(source: str | os.PathLike, target: str | os.PathLike) -> Conversion:
    """Convert a published file into a checkpoint of our own.

    Raises:
        FileNotFoundError, IsADirectoryError: ``source`` is not a file.
        ValueError: It is damaged, unsafe or of another model, or lacks weights.
    """
    conversion = convert_toy(read_weights(source))
    write_classifier(conversion, source, target)
    return conversion


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the authors'; None if it has none."""
    if key.startswith('toy.body.'):
        return key.replace('toy.body.', 'backbone.')
    return key.replace('toy.last.', 'head.fc.') if key.startswith('toy.last.') else None
