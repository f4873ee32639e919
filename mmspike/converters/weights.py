"""What all converters share: rules from name to name, fitting to a model, files."""

import argparse
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.converters.families import Family, identify
from mmspike.files import atomic_write, read_training_checkpoint
from mmspike.neurons.records import is_record

# Classes in published files beside tensors and plain values. Objects of yacs, settings of a
# training, are read without it, as plain dictionaries: torch fills `dict` and `OrderedDict` only,
# since some version no subclasses of them.
SAFE_CLASSES = (argparse.Namespace, (OrderedDict, 'yacs.config.CfgNode'))
# Where published files keep averaged weights: timm's, and those of SDT v3 for event cameras.
AVERAGED = ('state_dict_ema', 'model_ema')


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        state_dict: Weights of a model of a host library (of mmpretrain: ``backbone.``,
            ``head.fc.``), with the records of its neurons.
        arch: Architecture read from the shapes: a name, or a dict for the backbone.
        renamed: Old key to new key.
        missing: Keys of the model for which the file has nothing.
        unexpected: Keys of the file for which the model has no place.
        unused: Keys of the file that its own model does not use either.
        meta: What a checkpoint of the weights says of them beside ``arch``.
    """

    state_dict: dict[str, Tensor]
    arch: str | dict
    renamed: dict[str, str]
    missing: list[str]
    unexpected: list[str]
    unused: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


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


def sizes_of(tensors: dict[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    """Sizes of a renamed tensor, from which an architecture is read.

    Args:
        tensors: Name of ours to tensor.
        name: Name of ours.
        dims: How many dimensions it has in every architecture.

    Raises:
        ValueError: It is missing, empty or has other dimensions.
    """
    if name not in tensors:
        raise ValueError(f'the weights are incomplete: no tensor becomes {name}')
    sizes = tuple(tensors[name].shape)
    if len(sizes) != dims or 0 in sizes:
        raise ValueError(
            f'the tensor that becomes {name} has shape {sizes}, {dims} sizes from 1 on are '
            'expected; the file is damaged, or of another model'
        )
    return sizes


def fit_to_model(
    model: nn.Module,
    renamed: dict[str, str],
    tensors: dict[str, Tensor],
    *,
    known: list[str],
    unexpected: list[str],
    arch: str | dict,
    unused: Sequence[str] = (),
    meta: dict[str, Any] | None = None,
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
        meta: What a checkpoint says of itself beside ``arch``, such as the neurons.

    Raises:
        ValueError: A tensor has another shape than the model's, or other than real numbers.
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
        if new not in expected:
            continue
        if tensors[new].shape != expected[new].shape:
            raise ValueError(
                f'{old} has shape {tuple(tensors[new].shape)}, the model wants '
                f'{tuple(expected[new].shape)} at {new}; these are weights of another model'
            )
        if expected[new].is_floating_point() and not tensors[new].is_floating_point():
            raise ValueError(f'{old} holds {tensors[new].dtype}, real numbers are expected')
    return Conversion(
        state_dict={key: tensors[key] for key in known if key in tensors},
        arch=arch,
        renamed=renamed,
        missing=[key for key in known if key not in tensors],
        unexpected=[key for key in unexpected if key not in unused]
        + [old for old, new in renamed.items() if new not in known],
        unused=list(unused),
        meta=meta or {},
    )


def read_published(source: str | os.PathLike) -> dict[str, Any]:
    """The content of a published file.

    Args:
        source: It is loaded with ``weights_only=True``; :data:`SAFE_CLASSES` are let in beside
            tensors.

    Raises:
        FileNotFoundError, IsADirectoryError: ``source`` is not a file.
        ValueError: It is damaged or unsafe.
    """
    return read_training_checkpoint(source, SAFE_CLASSES)


def read_weights(source: str | os.PathLike, *, ema: bool = False) -> dict[str, Tensor]:
    """The weights in a published file; see :func:`read_published` and :func:`weights_in`."""
    return weights_in(read_published(source), source, ema=ema)


def weights_in(content: dict, source: str | os.PathLike, *, ema: bool = False) -> dict[str, Tensor]:
    """The weights of a checkpoint's content: ``'model'``, ``'state_dict'`` or the whole of it.

    Args:
        content: Content of the file.
        source: The file, for messages.
        ema: Take the averaged weights.

    Raises:
        ValueError: There are no averaged weights, or no weights where they should be.
    """
    places = AVERAGED if ema else ('model', 'state_dict')
    weights = next((content[key] for key in places if key in content), None if ema else content)
    if weights is None:
        raise ValueError(
            f'{source} has no averaged weights ({" or ".join(AVERAGED)}); it holds {_keys(content)}'
        )
    if not isinstance(weights, dict):
        raise ValueError(f'{source} holds a {type(weights).__name__} where weights are expected')
    tensors = {
        key: value
        for key, value in weights.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise ValueError(
            f'{source} holds no weights in {" or ".join(places)}, or by themselves; it holds '
            f'{_keys(content) or "nothing"}'
        )
    return tensors


def _keys(content: dict) -> str:
    return ', '.join(sorted(map(str, content))[:8])


def write_checkpoint(
    conversion: Conversion, source: str | os.PathLike, target: str | os.PathLike
) -> None:
    """Write converted weights as a checkpoint, whole or not at all.

    Args:
        conversion: The converted weights.
        source: Where they are from, for messages.
        target: File to write.

    Raises:
        IsADirectoryError: ``target`` is a directory.
        ValueError: Weights are missing, other than those of a classifier's head. Or ``target`` is
            the source.
    """
    lacking = [key for key in conversion.missing if not key.startswith('head.')]
    if lacking:
        raise ValueError(
            f'{source} lacks {len(lacking)} tensors of the model, among them {lacking[0]}'
        )
    if Path(target).resolve() == Path(source).resolve():
        raise ValueError(f'{target} is the published file itself: name another file to write')
    with atomic_write(target) as file:
        torch.save(checkpoint_of(conversion), file)


def checkpoint_of(conversion: Conversion) -> dict[str, Any]:
    """The content of a checkpoint with converted weights."""
    meta = dict(mmspike=dict(arch=conversion.arch, **conversion.meta))
    return dict(meta=meta, state_dict=conversion.state_dict)
