"""The handwritten digits, recorded by the simulated event camera and kept on disk."""

import hashlib
import itertools
import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from mmengine.logging import MMLogger

from mmspike.datasets.digits import digits_of_split
from mmspike.datasets.events.camera import EventCamera, simulate
from mmspike.datasets.events.recording import Events
from mmspike.utils.checkpoint import atomic_write

# Counts up with every change of the simulation that changes a recording.
VERSION = 1

SPLITS = ('train', 'test')


def event_digits(
    split: str, folder: str | os.PathLike, camera: EventCamera
) -> tuple[list[Events], np.ndarray]:
    """Recordings of a split and their labels, simulated unless they are in the folder.

    Processes may do this at the same time: each writes a whole file, and all write the same one.

    Args:
        split: ``'train'`` (1437 digits) or ``'test'`` (360).
        folder: Where the recordings are kept.
        camera: The camera; another one has another file.

    Returns:
        The recordings, and labels ``(M,)``, int64.
    """
    path = cache_path(split, folder, camera)
    if path.is_file():
        try:
            return _read(path)
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            MMLogger.get_current_instance().warning(
                f'{path} is damaged ({error}): the digits are recorded anew'
            )
    digits, labels = digits_of_split(split)
    keys = [(SPLITS.index(split), i) for i in range(len(digits))]
    recordings = simulate(digits / np.float32(255), camera, keys)
    _write(path, recordings, labels)
    return recordings, labels


def cache_path(split: str, folder: str | os.PathLike, camera: EventCamera) -> Path:
    """File of a split; its name tells what the recordings depend on."""
    decisive = json.dumps(dict(version=VERSION, **asdict(camera)), sort_keys=True)
    return Path(folder, f'{split}-{hashlib.sha256(decisive.encode()).hexdigest()[:12]}.npz')


def _write(path: Path, recordings: list[Events], labels: np.ndarray) -> None:
    borders = np.cumsum([0, *(len(one.t) for one in recordings)])
    whole = Events(*(np.concatenate(parts) for parts in zip(*recordings, strict=True)))
    with atomic_write(path) as file:
        np.savez(file, borders=borders, labels=labels, **whole._asdict())


def _read(path: Path) -> tuple[list[Events], np.ndarray]:
    with np.load(path, allow_pickle=False) as content:
        borders, labels = content['borders'], content['labels']
        whole = Events(*(content[name] for name in Events._fields))
    if len(borders) != len(labels) + 1 or any(len(part) != borders[-1] for part in whole):
        raise ValueError('its arrays do not fit together')
    parts = itertools.pairwise(borders)
    return [whole.part(slice(a, b)) for a, b in parts], labels
