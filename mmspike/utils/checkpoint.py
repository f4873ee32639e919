"""Reading checkpoint files safely, and writing files that are whole or not there."""

import os
import pickle
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.fileio import register_backend
from mmengine.fileio.backends import LocalBackend

# mmengine allows what its own training checkpoints hold, but not the float32 scores of mmseg. A
# number is no danger, and mmengine's loader (resuming) has to accept it as well as ours.
torch.serialization.add_safe_globals([np.dtypes.Float32DType])


def check_checkpoint_path(path: str | os.PathLike) -> Path:
    """Return ``path`` if a file is there.

    Raises:
        FileNotFoundError: Nothing is there.
        IsADirectoryError: A directory is; the message lists the checkpoints in it.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(str(file) for file in path.glob('*.pth'))
        hint = f'; in it are {", ".join(inside)}' if inside else ', and no .pth file is in it'
        raise IsADirectoryError(f'the checkpoint {path} is a directory{hint}')
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    return path


def read_checkpoint(
    path: str | os.PathLike, safe_classes: Sequence[type | Callable | tuple[type, str]] = ()
) -> dict[str, Any]:
    """Load a checkpoint with ``weights_only=True``, onto the CPU.

    Args:
        path: A ``.pth`` file.
        safe_classes: Classes that the file may hold beside tensors and plain values; a pair
            ``(cls, name)`` puts a class in the place of the one of that name, which need not be
            installed.

    Raises:
        FileNotFoundError, IsADirectoryError: See :func:`check_checkpoint_path`.
        ValueError: The file is damaged, is no checkpoint, or holds objects of other classes.
    """
    path = check_checkpoint_path(path)
    try:
        with torch.serialization.safe_globals(list(safe_classes)):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        # What the unpickler says of files that are no pickles.
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        blocked = re.search(r'GLOBAL (\S+) was not an allowed global', str(error))
        if blocked:
            raise ValueError(
                f'{path} holds a Python object of class {blocked[1]}, which could run code when '
                'loaded; such a file is refused. Ask its author for plain tensors'
            ) from None
        raise ValueError(
            f'{path} ({path.stat().st_size} bytes) cannot be read as a PyTorch checkpoint; it is '
            'damaged, incomplete (an interrupted download or copy?) or another kind of file'
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a dictionary of weights')
    return content


def read_training_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """:func:`read_checkpoint` for a file that mmengine's Runner wrote (log history included)."""
    try:
        from mmengine.runner.checkpoint import get_torch_safe_globals
    except ImportError:  # mmengine before the onedl continuation writes what torch refuses
        return read_checkpoint(path)
    return read_checkpoint(path, get_torch_safe_globals())


def newest_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """The checkpoint to resume from in ``work_dir``; None if there is none.

    It is the one named in ``last_checkpoint``. Where a kill kept that note from being written,
    the ``epoch_*.pth`` or ``iter_*.pth`` with the largest number takes its place.
    """
    work_dir = Path(work_dir)
    note = work_dir / 'last_checkpoint'
    named = note.read_text().strip() if note.is_file() else ''
    if named and Path(named).is_file():
        return Path(named)
    numbered = {
        int(match[1]): file
        for file in work_dir.glob('*.pth')
        if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', file.name))
    }
    return numbered[max(numbered)] if numbered else None


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of ``path`` when the block ends without error.

    Until then a file of that name stays as it is, whatever happens to this process.
    """
    path = Path(path)
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
