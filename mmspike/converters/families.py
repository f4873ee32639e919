"""The converters, and the families of files that they convert.

A family is recognised by the keys of its files. Other families are known by name only, for the
error message of a converter.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True)
class Family:
    """The files of one model.

    Attributes:
        name: Description with its article, for messages.
        patterns: Regular expressions. Each must match at least one key.
        without: Regular expressions that match no key.
    """

    name: str
    patterns: tuple[str, ...]
    without: tuple[str, ...] = ()

    def has(self, keys: Iterable[str]) -> bool:
        """Whether a checkpoint with these keys is of the family."""
        keys = list(keys)

        def occurs(pattern: str) -> bool:
            return any(re.search(pattern, key) for key in keys)

        return all(map(occurs, self.patterns)) and not any(map(occurs, self.without))


@dataclass(frozen=True)
class Converter:
    """A function that renames the weights of some families.

    Attributes:
        name: Its name in metafiles: that of the function, without ``convert_``.
        families: The families that it takes.
        convert: The function. It takes the weights, then ``model`` if it needs a model that is
            built from a config, and keyword options. It returns a
            :class:`~mmspike.converters.weights.Conversion`.
    """

    name: str
    families: tuple[Family, ...]
    convert: Callable

    @property
    def needs_model(self) -> bool:
        """Whether it needs the model that the weights are for."""
        return 'model' in inspect.signature(self.convert).parameters

    @property
    def options(self) -> dict[str, Any]:
        """Name and default of each option."""
        parameters = inspect.signature(self.convert).parameters.values()
        return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


# Name -> converter; filled by `converter_of`.
CONVERTERS: dict[str, Converter] = {}
# Families without a converter.
OTHERS = (
    Family(
        'an mmspike checkpoint, already converted',
        (r'^backbone\.stages\.0\.(downsample|conv)\.conv\.',),
    ),
    Family(
        'a Swin transformer checkpoint',
        (r'^layers\.\d+\.blocks\.\d+\.attn\.', r'relative_position_bias_table$'),
    ),
)
_Function = TypeVar('_Function', bound=Callable)


def converter_of(*families: Family) -> Callable[[_Function], _Function]:
    """Register the decorated function ``convert_NAME`` in :data:`CONVERTERS` for families."""

    def register(function: _Function) -> _Function:
        name = function.__name__.removeprefix('convert_')
        CONVERTERS[name] = Converter(name, families, function)
        return function

    return register


def find_converter(keys: Iterable[str]) -> Converter | None:
    """The converter for a checkpoint with these keys; None if there is none."""
    keys = list(keys)
    found = (one for one in CONVERTERS.values() if any(family.has(keys) for family in one.families))
    return next(found, None)


def identify(keys: Iterable[str]) -> str:
    """Return the model that a checkpoint's keys belong to.

    Args:
        keys: Parameter names, without a leading ``module.``.

    Returns:
        A phrase with its article: the name of a family, or one that quotes keys.
    """
    keys = list(keys)
    converted = (family for one in CONVERTERS.values() for family in one.families)
    for family in (*converted, *OTHERS):
        if family.has(keys):
            return family.name
    return f'a model unknown here (number of keys: {len(keys)}; first: {", ".join(keys[:3])})'
