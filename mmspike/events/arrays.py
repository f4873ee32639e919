"""Untrusted NumPy files: headers are checked before any data is read.

``numpy.load`` believes a header: it allocates as much as the header says, reads negative lengths,
and does not catch errors of ``zipfile`` and ``zlib``.
"""

import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from mmspike.events.recording import MalformedEventsError, check_number_of_events

# Deflate can not do better: 258 bytes from 2 bits.
_DEFLATE_RATIO = 1032
# What NumPy writes. Other methods are not unpacked in bounded pieces.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NUMBERS, _STRUCTURED = 'iufb', 'V'  # kinds of dtypes
_KINDS = {_NUMBERS: 'numbers', _STRUCTURED: 'a structured array'}
_MOST_HEADER = 10_000  # bytes; that of NumPy itself


def read_arrays(path: Path, names: Sequence[str], max_events: int) -> dict[str, np.ndarray]:
    """Read arrays of one dimension by name.

    Args:
        path: An archive of arrays (``.npz``, stored or deflated) or one structured array
            (``.npy``).
        names: Those that are read, of an archive; all fields are, of a structured array.
        max_events: The longest array that is read.

    Returns:
        The arrays that were found, each ``(N,)``, of numbers or bools, in the byte order of the
        file.

    Raises:
        MalformedEventsError: The file is damaged, holds something else, or holds more.
    """
    with path.open('rb') as file:
        size = os.fstat(file.fileno()).st_size
        is_archive = file.read(2) == b'PK'
        file.seek(0)
        with _damage(path):
            if not is_archive:
                whole = _read_array(path, file, size, max_events, _STRUCTURED)
                return {name: whole[name] for name in whole.dtype.names or ()}
            with zipfile.ZipFile(file) as archive:
                members = {one.filename.removesuffix('.npy'): one for one in archive.infolist()}
                return {
                    name: _read_member(f'{path}: {name}', archive, member, size, max_events)
                    for name in names
                    if (member := members.get(name)) is not None
                }


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    # numpy.lib.format and zipfile have no closed list of what they raise on damage: ValueError,
    # OSError, zlib.error, NotImplementedError, TokenError, MemoryError and more.
    try:
        yield
    except MalformedEventsError:
        raise
    except Exception as error:
        raise MalformedEventsError(f'{path} is damaged: {error or type(error).__name__}') from error


def _read_member(
    where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int, max_events: int
) -> np.ndarray:
    if member.compress_type not in _METHODS:
        raise MalformedEventsError(
            f'{where} is damaged: it is compressed by method {member.compress_type}, numpy.savez '
            'and numpy.savez_compressed use 0 and 8'
        )
    ratio = 1 if member.compress_type == zipfile.ZIP_STORED else _DEFLATE_RATIO
    with archive.open(member) as file:
        return _read_array(where, file, size * ratio, max_events, _NUMBERS)


def _read_array(
    where: str | Path, file: IO[bytes], most_bytes: int, max_events: int, kinds: str
) -> np.ndarray:
    """The only array in a file, of which there can be no more than so many bytes."""
    header = _header(where, file)
    major, _minor = npy.read_magic(header)
    # Version 3 is 2 with names in UTF-8; those that are wanted read the same.
    read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
    shape, _, dtype = read(header)
    start = header.tell()
    if len(shape) != 1 or shape[0] < 0:
        raise MalformedEventsError(f'{where} should have one dimension, but has shape {shape}')
    if dtype.hasobject or dtype.kind not in kinds:
        raise MalformedEventsError(f'{where} holds {dtype}, not {_KINDS[kinds]}')
    (length,) = shape
    wanted = length * dtype.itemsize
    if wanted > most_bytes - start:
        raise MalformedEventsError(
            f'{where} is damaged or truncated: its header promises {length} values of '
            f'{dtype.itemsize} bytes, more than a file of this size can hold'
        )
    check_number_of_events(where, length, max_events)
    content = file.read(wanted)
    if len(content) < wanted or file.read(1):  # at its end, an archive compares checksums
        less = 'fewer' if len(content) < wanted else 'more'
        raise MalformedEventsError(
            f'{where} is damaged or truncated: behind its header, at byte {start}, are {less} '
            f'bytes than the {wanted} of {length} values'
        )
    return np.frombuffer(content, dtype)


def _header(where: str | Path, file: IO[bytes]) -> BytesIO:
    """The bytes up to the end of the header. Its length is checked, too."""
    start = file.read(8)
    form = '<H' if start[6:7] == b'\1' else '<I'
    claim = file.read(struct.calcsize(form))
    length = struct.unpack(form, claim)[0] if len(claim) == struct.calcsize(form) else 0
    if length > _MOST_HEADER:
        raise MalformedEventsError(
            f'{where} is damaged: its header is said to be {length} bytes long'
        )
    return BytesIO(start + claim + file.read(length))
