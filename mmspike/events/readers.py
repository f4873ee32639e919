"""Readers of event files, one per format, found by the suffix of the file.

Each returns the events of a file, and a function from the index of an event to the byte at which it
begins. Given a stretch of time, a reader may leave out events outside. The readers find damage of
the format itself; :func:`~mmspike.events.recording.check_events` finds damage of the events.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmspike.events.aedat4 import decode_aedat4
from mmspike.events.arrays import read_arrays
from mmspike.events.recording import (
    MAX_EVENTS,
    Events,
    MalformedEventsError,
    Offset,
    check_events,
    check_number_of_events,
)

_Window = tuple[int, int] | None
_Read = tuple[Events, Offset | None]


def read_events(
    path: str | os.PathLike,
    sensor_size: tuple[int, int],
    window: _Window = None,
    sort: bool = False,
    max_events: int = MAX_EVENTS,
) -> Events:
    """Read and check a recording.

    Args:
        path: A file ``.aedat`` (version 2 or 3), ``.aedat4``, ``.bin`` (ATIS: N-MNIST,
            N-Caltech101), ``.dat`` (Prophesee), ``.npz`` (arrays ``t``, ``x``, ``y``, ``p``) or
            ``.npy`` (a structured array of them).
        sensor_size: Height and width of the sensor in pixels.
        window: Only events from the first time to before the second, in microseconds.
        sort: Put events in the order of time instead of refusing another order.
        max_events: The most events that a file may hold, or seem to hold by its size and headers;
            known before memory is taken for them. Compressed events are unpacked to at most 16
            bytes each; four arrays of int64 are made of them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The suffix is of no known format.
        MalformedEventsError: The file is damaged or holds too many events, or see
            :func:`~mmspike.events.recording.check_events`.
        ImportError: The file is ``.aedat4`` and the package that reads it is not installed.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(
            f'{path} is of no known format: event files end in {", ".join(sorted(READERS))}'
        )
    if not path.is_file():
        raise FileNotFoundError(f'there is no event file {path}')
    events, offset = READERS[path.suffix](path, window, max_events)
    if window is not None:
        # Not by search: that needs the order which is still to be checked.
        kept = np.flatnonzero((events.t >= window[0]) & (events.t < window[1]))
        events, offset = events.part(kept), _of_kept(offset, kept)
    if sort:
        order = np.argsort(events.t, kind='stable')
        events, offset = events.part(order), _of_kept(offset, order)
    part = '' if window is None else f' from {window[0]} to before {window[1]} us'
    check_events(events, sensor_size, f'{path}{part}', offset)
    return events


def _of_kept(offset: Offset | None, kept: np.ndarray) -> Offset | None:
    return None if offset is None else lambda i: offset(int(kept[i]))


def _content(path: Path, size: int, max_events: int) -> bytes:
    """All bytes of a file, unless there is room for too many events of that size."""
    check_number_of_events(path, path.stat().st_size // size, max_events)
    return path.read_bytes()


def _records(path: Path, content: bytes, start: int, dtype: np.dtype) -> np.ndarray:
    """The rest of a file as records of one size."""
    left = (len(content) - start) % dtype.itemsize
    if left:
        raise MalformedEventsError(
            f'{path} is truncated: its last event, at byte {len(content) - left}, has {left} of '
            f'{dtype.itemsize} bytes'
        )
    return np.frombuffer(content, dtype, offset=start)


def _read_aedat(path: Path, window: _Window, max_events: int) -> _Read:
    """AEDAT version 2 (jAER) or 3 (cAER): the first line says which."""
    content = _content(path, 8, max_events)
    first = content[: content.find(b'\n') + 1].strip()
    if first.startswith(b'#!AER-DAT2'):
        return _read_aedat2(path, content)
    if first.startswith(b'#!AER-DAT3'):
        return _read_aedat3(path, content, window)
    raise MalformedEventsError(
        f'{path} begins with {first[:30]!r}, not with #!AER-DAT2 or #!AER-DAT3; version 4 files '
        'are to be named .aedat4'
    )


def _read_aedat2(path: Path, content: bytes) -> _Read:
    """Version 2 of a DVS128, as CIFAR10-DVS is recorded: an address and a time, big-endian.

    The image is turned and the polarity inverted as spikingjelly does, so that pictures stand
    upright and 1 is ON.
    """
    start = 0
    while content[start : start + 1] == b'#':
        end = content.find(b'\n', start)
        if end < 0:
            raise MalformedEventsError(f'{path} ends within its header')
        start = end + 1
    records = _records(path, content, start, np.dtype([('address', '>u4'), ('t', '>i4')]))
    address = records['address']
    foreign = address > 0xFFFF
    if foreign.any():
        i = int(foreign.argmax())
        raise MalformedEventsError(
            f'{path}: event {i} at byte {start + 8 * i} has the address {int(address[i]):#x}, '
            'which is not one of a DVS128'
        )
    # Bit 15 marks what is not of a pixel (synchronisation).
    pixels = np.flatnonzero(address < 0x8000)
    address = address[pixels].astype(np.int32)
    events = Events(
        t=records['t'][pixels].astype(np.int64),
        x=127 - (address >> 8 & 0x7F),
        y=127 - (address >> 1 & 0x7F),
        p=1 - (address & 1),
    )
    return events, lambda i: start + 8 * int(pixels[i])


_AEDAT3_END = b'#!END-HEADER\r\n'
# Type and source; size of an event, where its time is in it, how often 31 bits of time overflowed;
# for how many events there is room, how many there are and how many of them are valid.
_AEDAT3_PACKET = struct.Struct('<hhiiiiii')
_AEDAT3_POLARITY = 1


def _read_aedat3(path: Path, content: bytes, window: _Window) -> _Read:
    """Version 3, as DVS128 Gesture is recorded: packets of events of one type."""
    position = content.find(_AEDAT3_END) + len(_AEDAT3_END)
    if position < len(_AEDAT3_END):
        raise MalformedEventsError(f'{path} has no line {_AEDAT3_END.decode().strip()}')
    words, times, places = [], [], []
    while position < len(content):
        start = position + _AEDAT3_PACKET.size
        if start > len(content):
            raise MalformedEventsError(
                f'{path} is truncated: at byte {position} begins a packet whose header is cut off'
            )
        kind, _, size, _, overflow, capacity, *_ = _AEDAT3_PACKET.unpack_from(content, position)
        if size <= 0 or capacity < 0 or (kind == _AEDAT3_POLARITY and size != 8):
            raise MalformedEventsError(
                f'{path}: at byte {position} should begin a packet, which reads as one of '
                f'{capacity} events of {size} bytes'
            )
        if start + size * capacity > len(content):
            raise MalformedEventsError(
                f'{path} is truncated: of the packet at byte {position} there are '
                f'{len(content) - start} of {size * capacity} bytes'
            )
        position = start + size * capacity
        if kind == _AEDAT3_POLARITY and capacity:
            data = np.frombuffer(content, '<u4', 2 * capacity, start).reshape(-1, 2)
            ends = sorted(int(t) | overflow << 31 for t in data[[0, -1], 1])
            if window is None or (ends[1] >= window[0] and ends[0] < window[1]):
                words.append(data[:, 0])
                times.append(data[:, 1].astype(np.int64) | overflow << 31)
                places.append(start)
    if not words:
        nothing = np.empty(0, np.int64)
        return Events(nothing, nothing, nothing, nothing), None
    firsts = np.cumsum([0, *(len(part) for part in words)])
    word, t = np.concatenate(words), np.concatenate(times)
    # Bit 0 is cleared in events that a filter of the recorder rejected.
    valid = np.flatnonzero(word & 1)
    word = word[valid].astype(np.int64)
    events = Events(t=t[valid], x=word >> 17, y=word >> 2 & 0x7FFF, p=word >> 1 & 1)

    def offset(i: int) -> int:
        packet = int(np.searchsorted(firsts, valid[i], side='right')) - 1
        return places[packet] + 8 * int(valid[i] - firsts[packet])

    return events, offset


def _read_atis(path: Path, _window: _Window, max_events: int) -> _Read:
    """Five bytes per event: x, y, and big-endian the polarity and 23 bits of time.

    Row 240, which no sensor of these data sets has, says that 2**13 us are to be added to all
    later times.
    """
    content = _content(path, 5, max_events)
    raw = _records(path, content, 0, np.dtype(('u1', 5))).astype(np.int64)
    t = (raw[:, 2] & 0x7F) << 16 | raw[:, 3] << 8 | raw[:, 4]
    overflow = raw[:, 1] == 240
    pixels = np.flatnonzero(~overflow)
    events = Events(
        t=(t + (np.cumsum(overflow) << 13))[pixels],
        x=raw[pixels, 0],
        y=raw[pixels, 1],
        p=raw[pixels, 2] >> 7,
    )
    return events, lambda i: 5 * int(pixels[i])


def _read_prophesee(path: Path, _window: _Window, max_events: int) -> _Read:
    """Lines of text that begin with %, type and size of the events, then eight bytes for each."""
    content = _content(path, 8, max_events)
    start = 0
    while content[start : start + 1] == b'%':
        end = content.find(b'\n', start)
        if end < 0:
            raise MalformedEventsError(f'{path} ends within its header')
        start = end + 1
    if start:
        kind = tuple(content[start : start + 2])
        if kind not in {(0, 8), (12, 8)}:
            raise MalformedEventsError(
                f'{path}: byte {start} should say that the events are of type 0 or 12 and 8 bytes '
                f'long, but reads {kind}'
            )
        start += 2
    records = _records(path, content, start, np.dtype([('t', '<u4'), ('pixel', '<u4')]))
    pixel = records['pixel'].astype(np.int64)
    events = Events(
        t=records['t'].astype(np.int64),
        x=pixel & 0x3FFF,
        y=pixel >> 14 & 0x3FFF,
        p=pixel >> 28 & 1,
    )
    return events, lambda i: start + 8 * i


def _read_numpy(path: Path, _window: _Window, max_events: int) -> _Read:
    """Arrays ``t``, ``x``, ``y``, ``p``: an archive of them or one structured array.

    Polarities are 0 and 1, or -1 and 1.
    """
    found = read_arrays(path, Events._fields, max_events)
    missing = [name for name in Events._fields if name not in found]
    if missing:
        raise MalformedEventsError(
            f'{path} holds {sorted(found) or "no arrays"}; missing are {", ".join(missing)}'
        )
    lengths = {name: found[name].shape for name in Events._fields}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise MalformedEventsError(f'{path}: t, x, y, p must be as long, got shapes {lengths}')
    events = Events(*(_as_integers(path, name, found[name]) for name in Events._fields))
    if np.isin(events.p, (-1, 1)).all():  # the other way to write polarities
        events = events._replace(p=(events.p > 0).astype(np.int64))
    return events, None


def _as_integers(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Unsigned numbers would hide a step backwards in a difference; bools have none."""
    if values.dtype.kind == 'f':
        wrong = ~(np.isfinite(values) & (values == np.floor(values)))
        if wrong.any():
            i = int(wrong.argmax())
            raise MalformedEventsError(
                f'{path}: event {i} has {name}={values[i]!r}, which is not a whole number; times '
                'are in microseconds'
            )
    elif values.dtype.kind not in 'iub':
        raise MalformedEventsError(f'{path}: {name} holds {values.dtype}, not numbers')
    if values.dtype.kind in 'fu' and values.dtype.itemsize > 2:  # all of less fits
        # 2**63 is a float, too; the largest int64 is not.
        beyond = (values >= 2.0**63) | (values < -(2.0**63))
        if beyond.any():
            i = int(beyond.argmax())
            raise MalformedEventsError(
                f'{path}: event {i} has {name}={values[i]!r}, which needs more than 64 bits'
            )
    return values.astype(np.int64)


def _read_aedat4(path: Path, _window: _Window, max_events: int) -> _Read:
    """Version 4 (DV), which is compressed."""
    return decode_aedat4(path, max_events), None


READERS: dict[str, Callable[[Path, _Window, int], _Read]] = {
    '.aedat': _read_aedat,
    '.aedat4': _read_aedat4,
    '.bin': _read_atis,
    '.dat': _read_prophesee,
    '.npz': _read_numpy,
    '.npy': _read_numpy,
}
