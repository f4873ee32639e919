"""Published weights of the toy: a linear classifier under other names."""

from torch import Tensor, nn

from mmspike.converters.families import Family, converter_of
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
)

FAMILY = Family('a toy classifier', (r'^toy\.body\.',))


@converter_of(FAMILY)
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


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the authors'; None if it has none."""
    if key.startswith('toy.body.'):
        return key.replace('toy.body.', 'backbone.')
    return key.replace('toy.last.', 'head.fc.') if key.startswith('toy.last.') else None
