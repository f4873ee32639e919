"""The origin of an energy report."""

import hashlib
import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from mmspike.neurons import BaseNeuron
from mmspike.version import __version__
from mmspike.versions import SUPPORTED

UNKNOWN = 'not stated'
RANDOM = 'random'


def _command() -> str:
    """The command line of this process."""
    python, *arguments = sys.orig_argv
    return shlex.join([Path(python).name, *arguments])


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec='seconds')


@cache
def versions() -> dict[str, str]:
    """Versions of mmspike, torch and those libraries of OpenMMLab that have been imported."""
    found = dict(mmspike=__version__)
    for library in SUPPORTED:
        if library in sys.modules:
            found[library] = import_module(library).__version__
    return found


@dataclass(frozen=True)
class Origin:
    """The origin of an energy report, as far as it is known.

    Attributes:
        config: File of the network's config.
        weights: :data:`RANDOM`, or where they are from.
        checkpoint_sha256: SHA-256 of the checkpoint's file; None without one.
        images: :data:`RANDOM`, or which data.
        versions: Of the libraries.
        date: When, by ISO 8601.
        command: Command line of the process.
    """

    config: str = UNKNOWN
    weights: str = UNKNOWN
    checkpoint_sha256: str | None = None
    images: str = UNKNOWN
    versions: dict[str, str] = field(default_factory=versions)
    date: str = field(default_factory=_now)
    command: str = field(default_factory=_command)

    @staticmethod
    def of(
        config: str | os.PathLike, checkpoint: str | os.PathLike | None, images: str
    ) -> 'Origin':
        """The origin of a network that was built from a config.

        Args:
            config: File of the config.
            checkpoint: File of the weights; without one, they are random.
            images: :data:`RANDOM`, or which data.
        """
        return Origin(
            config=str(config),
            weights=RANDOM if checkpoint is None else str(checkpoint),
            checkpoint_sha256=None if checkpoint is None else sha256(checkpoint),
            images=images,
        )

    @property
    def random(self) -> tuple[str, ...]:
        """The random inputs of the report: weights, images, or both."""
        return tuple(name for name in ('weights', 'images') if getattr(self, name) == RANDOM)

    @property
    def banner(self) -> str | None:
        """The banner above all numbers of random weights or images."""
        if not self.random:
            return None
        what = ' AND '.join(f'RANDOM {name.upper()}' for name in self.random)
        return (
            f'{what}: firing rates, and the energy that follows from them, are not those of a '
            'trained network on real images.'
        )


def sha256(file: str | os.PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with open(file, 'rb') as content:
        return hashlib.file_digest(content, 'sha256').hexdigest()


def neuron_kinds(neurons: Iterable[nn.Module]) -> dict[str, int]:
    """How many neuron layers there are of each type, with the settings that they all have.

    >>> from mmspike.neurons import IF
    >>> neuron_kinds([IF(threshold=1.0), IF(threshold=2.0)])
    {'IF(v_reset=0.0, detach_reset=False)': 2}
    """
    settings: dict[str, list[dict]] = {}
    for neuron in neurons:
        if isinstance(neuron, BaseNeuron):
            described: dict[str, Any] = dict(neuron.describe())
            settings.setdefault(described.pop('type'), []).append(described)
    kinds = {}
    for name, found in settings.items():
        shared = (f'{k}={v}' for k, v in found[0].items() if all(one.get(k) == v for one in found))
        kinds[f'{name}({", ".join(shared)})'] = len(found)
    return kinds
