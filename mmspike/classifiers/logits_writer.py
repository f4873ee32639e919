"""Writing a folder of logits so that it can be interrupted at any time."""

import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from mmspike.classifiers.logits_folder import (
    HEADER,
    LOGITS,
    SAMPLES,
    UNFINISHED,
    LogitsHeader,
    read_json,
)
from mmspike.classifiers.samples import Samples
from mmspike.files import atomic_write

# Progress goes to the disk after that many seconds: so much work is lost by a kill.
_SAVED_EVERY = 10.0


class LogitsWriter:
    """Writes a folder of logits, and goes on where another writer was interrupted.

    Use it in a ``with`` block: at its end, also after an exception, all logits are on the disk.

    Args:
        folder: Made if it is not there.
        samples: The samples, in the order in which logits will come.
        teacher: See :class:`~mmspike.classifiers.logits_folder.LogitsHeader`.

    Attributes:
        done: How many samples have their logits.

    Raises:
        ValueError: The folder holds logits of something else.
    """

    def __init__(self, folder: Path, samples: Samples, teacher: dict[str, str]) -> None:
        self.folder = folder
        self.samples = samples
        self.teacher = teacher
        self.done = 0
        self._classes = 0
        self._file: Any = None
        self._saved = monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        names = [name for name in (HEADER, UNFINISHED) if (folder / name).is_file()]
        if names:
            self._resume(names[0])
        else:
            self._write_json(SAMPLES, dict(paths=samples.paths, labels=samples.labels))
            self._save()

    def append(self, logits: np.ndarray) -> None:
        """Add logits ``(B, classes)`` of the next samples.

        Raises:
            ValueError: They are not of that shape, or hold NaN or infinity.
        """
        if logits.ndim != 2 or self._classes not in (0, logits.shape[1]):
            raise ValueError(
                f'the scores of the teacher have shape {logits.shape}, (images, '
                f'{self._classes or "classes"}) is expected'
            )
        bad = ~np.isfinite(logits).all(1)
        if bad.any():
            paths, i = self.samples.paths, self.done + int(bad.argmax())
            raise ValueError(
                f'the scores of sample {paths[i] if paths else i} hold NaN or infinity: is the '
                'checkpoint of this config, and finite?'
            )
        if self._file is None:
            self._classes = logits.shape[1]
            self._open()
        assert self.done + len(logits) <= self.samples.number, len(logits)
        self._file.write(np.ascontiguousarray(logits, '<f4').tobytes())
        self.done += len(logits)
        if monotonic() - self._saved > _SAVED_EVERY:
            self._save()

    def finish(self) -> None:
        """Declare the folder complete: every sample has its logits."""
        assert self.done == self.samples.number, self.done
        self._close()
        self._write_json(HEADER, asdict(self._header()))
        (self.folder / UNFINISHED).unlink(missing_ok=True)

    def __enter__(self) -> 'LogitsWriter':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()

    def _header(self) -> LogitsHeader:
        return LogitsHeader(
            dataset=self.samples.dataset,
            samples=self.samples.number,
            key=self.samples.key,
            classes=self._classes,
            teacher=self.teacher,
        )

    def _resume(self, name: str) -> None:
        """Take over what the folder holds."""
        state, listed = read_json(self.folder / name), read_json(self.folder / SAMPLES)
        done = state.pop('done', self.samples.number)
        self._classes = state.get('classes', 0)
        wanted = dict(paths=self.samples.paths, labels=self.samples.labels)
        if state != asdict(self._header()) or listed != wanted:
            raise ValueError(
                f'{self.folder} holds logits of {state.get("samples")} samples of '
                f'{state.get("dataset")} by {state.get("teacher")}, not those of '
                f'{self.samples.number} samples of {self.samples.dataset} by {self.teacher}: '
                'choose another --out, or delete the folder'
            )
        self.done = min(done, self._rows_on_disk())
        if self.done < self.samples.number:
            self._save()
            (self.folder / HEADER).unlink(missing_ok=True)

    def _rows_on_disk(self) -> int:
        path = self.folder / LOGITS
        if not path.is_file() or not self._classes:
            return 0
        rows = path.stat().st_size - len(self._npy_header())
        return max(0, rows) // (4 * self._classes)

    def _open(self) -> None:
        """Open the file behind the logits that are known to be whole."""
        self._file = open(self.folder / LOGITS, 'r+b' if self.done else 'wb')  # noqa: SIM115
        self._file.write(self._npy_header())
        self._file.seek(4 * self._classes * self.done, os.SEEK_CUR)
        self._file.truncate()

    def _npy_header(self) -> bytes:
        header, shape = io.BytesIO(), (self.samples.number, self._classes)
        content = dict(descr='<f4', fortran_order=False, shape=shape)
        np.lib.format.write_array_header_1_0(header, content)
        return header.getvalue()

    def _close(self) -> None:
        if self._file is not None:
            self._save()
            self._file.close()
            self._file = None

    def _save(self) -> None:
        """Put on the disk what there is, and then how much it is."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._write_json(UNFINISHED, dict(asdict(self._header()), done=self.done))
        self._saved = monotonic()

    def _write_json(self, name: str, content: dict) -> None:
        with atomic_write(self.folder / name) as file:
            file.write(json.dumps(content, indent=None if name == SAMPLES else 2).encode())
