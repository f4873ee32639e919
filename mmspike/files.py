"""Reading checkpoint files safely, and writing files that are whole or not there."""

import errno
import os
import pickle
import re
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.fileio import register_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.logging import HistoryBuffer

from mmspike.metafiles import weights_at
from mmspike.pickle_names import foreign_names

# mmengine allows what its own training checkpoints hold, but not the float32 scores of mmseg. A
# number is no danger, and mmengine's loader (resuming) has to accept it as well as ours.
torch.serialization.add_safe_globals([np.dtypes.Float32DType])

# One at a time: a file that ends would withdraw the classes that another one still needs.
_READING = threading.Lock()


def forbid_code_in_checkpoints() -> None:
    """Restrict torch to loading data only in this process, for all loaders.

    A checkpoint may come from anywhere, and mmengine loads with ``weights_only=False`` in places.
    torch reads ``TORCH_FORCE_WEIGHTS_ONLY_LOAD`` whenever it loads a file; a value that the user
    has set stays.
    """
    os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')


class UnsafeCheckpointError(ValueError):
    """A checkpoint contains functions or classes, which are no plain data."""


def check_checkpoint_path(path: str | os.PathLike) -> Path:
    """Return ``path`` if a file is there.

    Raises:
        FileNotFoundError: Nothing is there; the message says how to get a file of the metafiles.
        IsADirectoryError: A directory is; the message lists the checkpoints in it.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(str(file) for file in path.glob('*.pth'))
        hint = f'; in it are {", ".join(inside)}' if inside else ', and no .pth file is in it'
        raise IsADirectoryError(f'the checkpoint {path} is a directory{hint}')
    if not path.is_file():
        known = weights_at(path)
        source = f': {known.how_to_get(path)}' if known else ''
        raise FileNotFoundError(f'there is no checkpoint file {path}{source}')
    return path


def read_checkpoint(
    path: str | os.PathLike, safe_classes: Sequence[type | Callable | tuple[Callable, str]] = ()
) -> dict[str, Any]:
    """Load a checkpoint with ``weights_only=True``, onto the CPU.

    Args:
        path: A ``.pth`` file.
        safe_classes: Classes that the file may hold beside tensors and plain values; a pair
            ``(cls, name)`` puts a class in the place of the one of that name, which need not be
            installed.

    Raises:
        FileNotFoundError, IsADirectoryError: See :func:`check_checkpoint_path`.
        UnsafeCheckpointError: The file wants to run code; the message says which.
        ValueError: The file is damaged, or is no checkpoint.
    """
    path = check_checkpoint_path(path)
    try:
        # The classes are let in for all threads, and for as long as one of them is reading.
        with _READING, torch.serialization.safe_globals(list(safe_classes)):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        # Errors of the unpickler for files that are no pickles.
        LookupError,
        TypeError,
        AttributeError,
        OSError,
    ) as error:
        # A file that ends early lets torch seek in front of its beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        wanted = _wanted(path, error, safe_classes)
        if wanted:
            raise UnsafeCheckpointError(
                f'{path} was refused, and nothing in it was run: it calls or creates '
                f'{", ".join(wanted)}, but a checkpoint may contain only tensors and plain values. '
                'Ask its author for a file of these'
            ) from None
        raise ValueError(
            f'{path} ({path.stat().st_size} bytes) cannot be read as a PyTorch checkpoint; it is '
            'damaged, incomplete (an interrupted download or copy?) or another kind of file'
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a dictionary of weights')
    return content


def _wanted(path: Path, error: Exception, safe_classes: Sequence) -> list[str]:
    """The functions and classes in a refused file; empty if it is only damaged."""
    if isinstance(error, UnsafeCheckpointError):
        return [str(error)]
    allowed = {
        one[1] if isinstance(one, tuple) else f'{one.__module__}.{one.__qualname__}'
        for one in safe_classes
    }
    try:
        names = [name for name in foreign_names(path) if name not in allowed]
    except (OSError, zipfile.BadZipFile):
        names = []
    # torch says which one it met first; it may be one of its own functions.
    first = re.search(r'GLOBAL (\S+) (?:was not an allowed global|whose module)', str(error))
    if first and not any(name.endswith(first[1]) for name in names):
        names.insert(0, first[1])
    return names


def read_training_checkpoint(
    path: str | os.PathLike, safe_classes: Sequence[type | Callable | tuple[Callable, str]] = ()
) -> dict[str, Any]:
    """:func:`read_checkpoint` for a file that mmengine's Runner wrote (log history included)."""
    try:
        from mmengine.runner.checkpoint import get_torch_safe_globals
    except ImportError:  # mmengine before the onedl continuation writes what torch refuses
        return read_checkpoint(path, safe_classes)
    # mmengine lets in `getattr` as well, for the methods of its log history; with it, a file can
    # reach any function of Python.
    allowed = [function for function in get_torch_safe_globals() if function is not getattr]
    history = (_history_method, 'builtins.getattr')
    return read_checkpoint(path, [*allowed, history, *safe_classes])


def _history_method(owner: type, name: str) -> Callable:
    """Stands for ``getattr``, which a log history calls for the four methods of its class."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnsafeCheckpointError(f'builtins.getattr for {name!r}')
    return getattr(owner, name)


def newest_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """The newest checkpoint in ``work_dir``, unread; None if there is none."""
    return next(checkpoints_in(work_dir), None)


def checkpoints_in(work_dir: str | os.PathLike) -> Iterator[Path]:
    """The checkpoints of a training, the newest first.

    It is the one named in ``last_checkpoint``. Where a kill kept that note from being written,
    the ``epoch_*.pth`` or ``iter_*.pth`` with the largest number takes its place.
    """
    work_dir = Path(work_dir)
    noted = noted_checkpoint(work_dir)
    if noted is not None:
        yield noted
    numbered = {
        int(match[1]): file
        for file in work_dir.glob('*.pth')
        if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', file.name))
    }
    for number in sorted(numbered, reverse=True):
        if noted is None or numbered[number].resolve() != noted.resolve():
            yield numbered[number]


def noted_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, if it is there."""
    named = read_note(work_dir)
    # In a folder that was moved or copied, its own file is meant.
    for path in (Path(work_dir, Path(named).name), Path(named)):
        if named and os.path.isfile(path):  # noqa: PTH113 (Path objects to names that are too long)
            return path
    return None


def read_note(work_dir: str | os.PathLike) -> str:
    """The content of ``last_checkpoint``; empty if the file is missing. It may be damaged."""
    note = Path(work_dir, 'last_checkpoint')
    return os.fsdecode(note.read_bytes()).strip() if note.is_file() else ''


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of ``path`` when the block ends without error.

    Until then a file of that name stays as it is, whatever happens to this process.

    Raises:
        IsADirectoryError: A directory is there.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a directory: name a file in it')
    path.parent.mkdir(parents=True, exist_ok=True)
    # No process id: containers that share a folder, and threads, have the same ones.
    partial = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.partial')
    try:
        with open(partial, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class AtomicLocalBackend(LocalBackend):
    """mmengine's local storage with :func:`atomic_write`."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write bytes."""
        with atomic_write(filepath) as file:
            file.write(obj)


# What `backend_args=dict(backend=...)` of a hook names it by.
ATOMIC_BACKEND = 'mmspike.atomic'
register_backend(ATOMIC_BACKEND, AtomicLocalBackend)
