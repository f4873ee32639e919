"""What all converters share: rules from name to name, fitting to a model, files."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mmspike.converters.families import Family, identify
from mmspike.files import atomic_write, read_checkpoint
from mmspike.neurons.records import is_record


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        state_dict: Weights of an mmpretrain classifier (``backbone.``, ``head.fc.``), with the
            records of its neurons.
        arch: Architecture read from the shapes: a name, or a dict for the backbone.
        renamed: Old key to new key.
        missing: Keys of the model for which the file has nothing.
        unexpected: Keys of the file for which the model has no place.
        unused: Keys of the file that its own model does not use either.
    """

    state_dict: dict[str, Tensor]
    arch: str | dict
    renamed: dict[str, str]
    missing: list[str]
    unexpected: list[str]
    unused: list[str] = field(default_factory=list)


def check_family(weights: dict[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Return the weights without a leading ``module.`` if they are of a family.

    Raises:
        ValueError: They belong to another model; the message says what it looks like.
    """
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    looks_like = identify(list(weights))
    if looks_like != family.name:
        raise ValueError(f'expected {family.name}, but this looks like {looks_like}')
    return weights


def rename(
    weights: dict[str, Tensor], rule: Callable[[str], str | None]
) -> tuple[dict[str, str], dict[str, Tensor], list[str]]:
    """Apply a rule from old keys to new ones.

    Returns:
        Old key to new key; new key to tensor; keys for which the rule has no name.
    """
    renamed = {key: new for key in weights if (new := rule(key)) is not None}
    tensors = {new: weights[key] for key, new in renamed.items()}
    return renamed, tensors, [key for key in weights if key not in renamed]


def fit_to_model(
    model: nn.Module,
    renamed: dict[str, str],
    tensors: dict[str, Tensor],
    *,
    known: list[str],
    unexpected: list[str],
    arch: str | dict,
    unused: Sequence[str] = (),
) -> Conversion:
    """Put renamed tensors into the order of a model, with the records of its neurons.

    Args:
        model: The model; its tensors may be on the meta device.
        renamed: Old key to new key.
        tensors: New key to tensor.
        known: Keys that the model may have, in order.
        unexpected: Keys for which no new name was found.
        arch: Architecture of the backbone.
        unused: Keys that the file's own model does not use.

    Raises:
        ValueError: A tensor has another shape than the model's.
    """
    expected = model.state_dict()
    # Learned numbers of neurons have one dimension here, and none in some published files.
    numbers = {key for key, value in expected.items() if value.shape == (1,)}
    tensors = {
        key: value.reshape(1) if key in numbers and value.dim() == 0 else value
        for key, value in tensors.items()
    }
    tensors.update({key: value for key, value in expected.items() if is_record(key)})
    for old, new in renamed.items():
        if new in expected and tensors[new].shape != expected[new].shape:
            raise ValueError(
                f'{old} has shape {tuple(tensors[new].shape)}, the model wants '
                f'{tuple(expected[new].shape)} at {new}; these are weights of another model'
            )
    return Conversion(
        state_dict={key: tensors[key] for key in known if key in tensors},
        arch=arch,
        renamed=renamed,
        missing=[key for key in known if key not in tensors],
        unexpected=[key for key in unexpected if key not in unused]
        + [old for old, new in renamed.items() if new not in known],
        unused=list(unused),
    )


def read_weights(
    source: str | os.PathLike,
    key: str | None = None,
    *,
    safe_classes: Sequence[type | tuple[type, str]] = (argparse.Namespace,),
) -> dict[str, Tensor]:
    """The weights in a published file.

    Args:
        source: It is loaded with ``weights_only=True``.
        key: Where they are; None looks where they usually are, see :func:`weights_in`.
        safe_classes: What is let in beside tensors: classes, or pairs of a class and the name of
            another one in whose place it is to be used.

    Raises:
        FileNotFoundError, IsADirectoryError: ``source`` is not a file.
        ValueError: It is damaged or unsafe, has no such key, or there is something else where
            weights should be.
    """
    content = read_checkpoint(source, safe_classes)
    if key is None:
        return weights_in(content, source)
    if key not in content:
        raise ValueError(f'{source} has no {key!r}; it holds {", ".join(sorted(content)[:8])}')
    return weights_in(content[key], source)


def weights_in(content: dict, source: str | os.PathLike) -> dict[str, Tensor]:
    """The weights of a checkpoint's content: ``'model'``, ``'state_dict'`` or the whole of it.

    Raises:
        ValueError: There is something else where they should be.
    """
    weights = next((content[key] for key in ('model', 'state_dict') if key in content), content)
    if not isinstance(weights, dict):
        raise ValueError(f'{source} holds a {type(weights).__name__} where weights are expected')
    return {key: value for key, value in weights.items() if isinstance(value, Tensor)}


def write_classifier(
    conversion: Conversion, source: str | os.PathLike, target: str | os.PathLike, **meta
) -> None:
    """Write the checkpoint of a classifier, whole or not at all.

    Args:
        conversion: What became of the weights.
        source: Where they are from, for messages.
        target: File to write.
        **meta: What the checkpoint says of itself beside its ``arch``.

    Raises:
        ValueError: Weights of the backbone are missing.
    """
    lacking = [key for key in conversion.missing if not key.startswith('head.')]
    if lacking:
        raise ValueError(
            f'{source} lacks {len(lacking)} tensors of the model, among them {lacking[0]}'
        )
    meta = dict(mmspike=dict(arch=conversion.arch, **meta))
    with atomic_write(target) as file:
        torch.save(dict(meta=meta, state_dict=conversion.state_dict), file)
