"""Recognising the model of a checkpoint by its keys.

Each converter declares its family of files. Other families are known by name only, for the error
message of a converter.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """The files of one model.

    Attributes:
        name: Description with its article, for messages.
        patterns: Regular expressions. Each must match at least one key.
        without: Regular expressions that match no key.
        targets: Regular expression for the names of converted files in configs; None if no config
            uses such a file.
        origin: Address of the published files and the command that converts them, for the error
            about a missing file. ``{path}`` stands for the missing file.
    """

    name: str
    patterns: tuple[str, ...]
    without: tuple[str, ...] = ()
    targets: str | None = None
    origin: str | None = None

    def has(self, keys: list[str]) -> bool:
        """Whether a checkpoint with these keys is of the family."""

        def occurs(pattern: str) -> bool:
            return any(re.search(pattern, key) for key in keys)

        return all(map(occurs, self.patterns)) and not any(map(occurs, self.without))


# The families of the converters; filled by `declare`.
CONVERTED: list[Family] = []
# Families without a converter.
OTHERS = (
    Family(
        'an mmspike checkpoint, already converted',
        (r'^backbone\.stages\.0\.(downsample|conv)\.conv\.',),
    ),
    Family('an SDT v3 masked-autoencoder checkpoint', (r'^mask_token$', r'^decoder_')),
    Family(
        'an SDT v3 large checkpoint',
        (r'^block3?\.\d+\.', r'attn\.q_conv\.', r'^(head_kd|downsample)'),
    ),
    Family(
        'a Swin transformer checkpoint',
        (r'^layers\.\d+\.blocks\.\d+\.attn\.', r'relative_position_bias_table$'),
    ),
)


def declare(family: Family) -> Family:
    """Add the family of a converter to :data:`CONVERTED`, and return it."""
    CONVERTED.append(family)
    return family


def identify(keys: list[str]) -> str:
    """Return the model that a checkpoint's keys belong to.

    Args:
        keys: Parameter names, without a leading ``module.``.

    Returns:
        A phrase with its article: the name of a family, or one that quotes keys.
    """
    for family in (*CONVERTED, *OTHERS):
        if family.has(keys):
            return family.name
    return f'a model unknown here (its {len(keys)} keys begin with {", ".join(keys[:3])})'


def origin_of(name: str) -> str | None:
    """Return the origin of the file of this name in a config; None if unknown."""
    for family in CONVERTED:
        if family.targets and re.search(family.targets, name):
            return family.origin
    return None
