"""A folder of the logits that a teacher gave the samples of a data set.

It holds ``logits.npy``, float32 ``(samples, classes)``; ``samples.json``, paths and labels of the
samples; and ``header.json``, which is written last: a folder without it is not complete. Until then
``unfinished.json`` counts the samples that are safely on the disk.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HEADER = 'header.json'
UNFINISHED = 'unfinished.json'
SAMPLES = 'samples.json'
LOGITS = 'logits.npy'
FORMAT = 1
_AGAIN = 'tools/store_logits.py makes such folders'


@dataclass(frozen=True)
class LogitsHeader:
    """What a folder of logits says of itself.

    Attributes:
        dataset, samples, key: See :class:`~mmspike.classifiers.samples.Samples`.
        classes: Number of classes of the teacher.
        teacher: Names of its config and checkpoint, and a hash of both and of the pipeline.
        format: Version of the folder's form.
    """

    dataset: str
    samples: int
    key: str
    classes: int
    teacher: dict[str, str]
    format: int = FORMAT


def read_header(folder: Path) -> LogitsHeader:
    """Read the header of a complete folder.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is not complete, or its header is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {folder} of stored logits: {_AGAIN}')
    if not (folder / HEADER).is_file():
        if (folder / UNFINISHED).is_file():
            state = read_json(folder / UNFINISHED)
            raise ValueError(
                f'the logits in {folder} are not complete: {state.get("done")} of '
                f'{state.get("samples")} samples. The same command of tools/store_logits.py goes on'
            )
        raise ValueError(f'{folder} holds no stored logits, it has no {HEADER}: {_AGAIN}')
    content = read_json(folder / HEADER)
    if content.get('format') != FORMAT:
        raise ValueError(
            f'{folder / HEADER} has format {content.get("format")!r}, this version of mmspike '
            f'reads {FORMAT}: store the logits again'
        )
    try:
        return LogitsHeader(**content)
    except TypeError as error:
        raise ValueError(
            f'{folder / HEADER} is damaged ({error}): delete the folder and store the logits again'
        ) from None


def read_samples(folder: Path, header: LogitsHeader) -> tuple[list[str] | None, list[int] | None]:
    """Paths and labels of a complete folder.

    Raises:
        ValueError: They are damaged.
    """
    content = read_json(folder / SAMPLES)
    paths, labels = content.get('paths'), content.get('labels')
    expected = dict(paths=paths if header.key == 'img_path' else None, labels=labels)
    wrong = [
        name for name, values in expected.items()
        if values is not None and not (isinstance(values, list) and len(values) == header.samples)
    ]  # fmt: skip
    if wrong or (header.key == 'img_path' and paths is None):
        raise ValueError(
            f'{folder / SAMPLES} does not list the {header.samples} samples of the header: store '
            'the logits again'
        )
    return paths, labels


def open_logits(folder: Path, header: LogitsHeader) -> np.ndarray:
    """The logits ``(samples, classes)``, float32, read from the disk when they are used.

    Raises:
        ValueError: The file is missing, damaged or not of that shape.
    """
    path, shape = folder / LOGITS, (header.samples, header.classes)
    try:
        logits = np.lib.format.open_memmap(path, mode='r')
    except (OSError, ValueError, EOFError) as error:
        size = f'{path.stat().st_size} bytes' if path.is_file() else 'missing'
        raise ValueError(
            f'{path} ({size}) is damaged or incomplete: {_of(shape)} are expected ({error}). Store '
            'the logits again'
        ) from None
    if logits.shape != shape or logits.dtype != np.float32:
        raise ValueError(
            f'{path} holds {logits.dtype} of shape {logits.shape}, {_of(shape)} are expected. '
            'Store the logits again'
        )
    return logits


def _of(shape: tuple[int, int]) -> str:
    return f'float32 logits of {shape[0]} samples and {shape[1]} classes'


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the folder's JSON files.

    Raises:
        ValueError: It is missing or damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(
            f'{path} cannot be read ({error}): delete the folder and store the logits again'
        ) from None
    if not isinstance(content, dict):
        raise ValueError(
            f'{path} holds a {type(content).__name__}: delete the folder and store the logits again'
        )
    return content
