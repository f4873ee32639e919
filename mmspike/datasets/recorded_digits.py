"""The handwritten digits, recorded by the simulated event camera and kept on disk."""

import hashlib
import itertools
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
from mmengine.logging import MMLogger

from mmspike.datasets.digits import digits_of_split
from mmspike.events.arrays import read_arrays
from mmspike.events.camera import EventCamera, record_pictures
from mmspike.events.recording import MAX_EVENTS, Events, MalformedEventsError
from mmspike.files import atomic_write

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
        except (MalformedEventsError, OSError) as error:
            MMLogger.get_current_instance().warning(
                f'{path} is damaged ({error}): the digits are recorded again'
            )
    digits, labels = digits_of_split(split)
    keys = [(SPLITS.index(split), i) for i in range(len(digits))]
    recordings = record_pictures(digits / np.float32(255), camera, keys)
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
    names = ('borders', 'labels', *Events._fields)
    found = read_arrays(path, names, MAX_EVENTS)
    if set(found) != set(names):
        raise MalformedEventsError(f'{path} holds {sorted(found)} of {sorted(names)}')
    borders, labels = found['borders'], found['labels']
    whole = Events(*(found[name] for name in Events._fields))
    fit = len(borders) == len(labels) + 1 and all(len(part) == borders[-1] for part in whole)
    if not fit or borders[0] != 0 or (borders[1:] < borders[:-1]).any():
        raise MalformedEventsError(f'the arrays of {path} do not fit together')
    return [whole.part(slice(a, b)) for a, b in itertools.pairwise(borders)], labels
