"""Converting a file of weights by whichever converter knows it."""

import os
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from mmspike.converters.families import Converter, find_converter, identify
from mmspike.converters.weights import Conversion, read_weights, write_checkpoint
from mmspike.metafiles import weights_named


def convert_weights(
    weights: dict[str, Tensor], model: nn.Module | None = None, **options: Any
) -> Conversion:
    """Rename published weights. Their keys tell which converter knows them.

    Args:
        weights: Name to tensor, as in the published files.
        model: The model they are for, built from a config; detectors and segmentors need one.
        **options: Options of the converter, for example ``D=8``.

    Raises:
        TypeError: The converter has no such option.
        ValueError: No converter knows the weights; the message says what they look like. Or they
            need a model, or do not fit.
    """
    converter = converter_for(weights)
    name = identify(key.removeprefix('module.') for key in weights)
    if converter is None:
        raise ValueError(f'this looks like {name}, for which there is no converter')
    unknown = sorted(set(options) - set(converter.options))
    if unknown:
        raise TypeError(
            f'{name} has no option {", ".join(unknown)}; its options are '
            f'{", ".join(converter.options) or "none"}'
        )
    if not converter.needs_model:
        return converter.convert(weights, **options)
    if model is None:
        raise ValueError(
            f'this is {name}: give the model that it is for, built from a config '
            '(to the tool: --config CONFIG)'
        )
    return converter.convert(weights, model, **options)


def convert_weights_of(
    source: str | os.PathLike,
    weights: dict[str, Tensor],
    model: nn.Module | None = None,
    **options: Any,
) -> Conversion:
    """:func:`convert_weights` with the options that the metafiles list for a file of this name.

    Args:
        source: The published file.
        weights: The weights in it.
        model: See :func:`convert_weights`.
        **options: Options of the converter; they come before those of the metafiles.

    Raises:
        TypeError, ValueError: See :func:`convert_weights`; the message names the file.
    """
    known, converter = weights_named(source), converter_for(weights)
    if known and converter and known.converter == converter.name:
        options = {**known.options, **options}
    try:
        return convert_weights(weights, model, **options)
    except ValueError as error:
        raise ValueError(f'{source} cannot be converted: {error}') from None


def convert_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: nn.Module | None = None,
    *,
    ema: bool = False,
    **options: Any,
) -> Conversion:
    """Convert a published file into a checkpoint of mmspike.

    Args:
        source: The file. It is loaded with ``weights_only=True``: no code in it runs.
        target: File to write, whole or not at all.
        model: The model it is for, built from a config; detectors and segmentors need one.
        ema: Take the averaged weights, where the file has them.
        **options: Options of the converter, for example ``D=8``. A file of a name that the
            metafiles list needs none.

    Raises:
        FileNotFoundError, IsADirectoryError: ``source`` is not a file.
        TypeError: The converter has no such option.
        ValueError: The file is damaged or unsafe, lacks weights, or no converter knows it.
    """
    conversion = convert_weights_of(source, read_weights(source, ema=ema), model, **options)
    write_checkpoint(conversion, source, target)
    return conversion


def converter_for(weights: Iterable[str]) -> Converter | None:
    """The converter of published weights by their names; None if there is none."""
    return find_converter(name.removeprefix('module.') for name in weights)
