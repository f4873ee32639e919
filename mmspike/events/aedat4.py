"""AEDAT version 4 (DV): compressed packets of events, decoded by the package ``aedat``.

That package trusts the file: a damaged header makes it read outside its buffers or ends the
process, and it unpacks a packet whatever comes of it. So the file is walked first: its header, the
place of every packet, and how much each can become.
"""

import os
import struct
from pathlib import Path
from xml.parsers import expat

import numpy as np

from mmspike.events.recording import (
    Events,
    MalformedEventsError,
    check_number_of_events,
)

_MAGIC = b'#!AER-DAT4.0\r\n'
# An event in a packet, and what any packet may unpack to, such as one of a picture.
_EVENT_BYTES, _FREE_BYTES = 16, 1 << 26
_MOST_DEPTH = 32  # of the description, XML; cameras and filters make it about 6 deep


def decode_aedat4(path: Path, max_events: int) -> Events:
    """Read the events of a file.

    Args:
        path: The file.
        max_events: The most events that are read.

    Returns:
        The events, in the order of the file.

    Raises:
        MalformedEventsError: The file is damaged or holds more events.
        ImportError: The package ``aedat`` is not installed.
    """
    try:
        import aedat
    except ImportError:
        raise ImportError(f'reading {path} needs the package aedat: pip install aedat') from None
    packets, number = [], 0
    try:
        check_container(path, max_events)
        for packet in aedat.Decoder(path):
            if 'events' in packet:
                packets.append(packet['events'])
                number += len(packets[-1])
                check_number_of_events(path, number, max_events)
    except MalformedEventsError:
        raise
    # The decoder has no errors of its own, and its PanicException is no Exception.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != 'PanicException':
            raise
        raise _damage(path, str(error)) from error
    nothing = np.empty(0, np.int64)  # concatenate needs something
    return Events(
        *(
            np.concatenate([nothing, *(one[name].astype(np.int64) for one in packets)])
            for name in ('t', 'x', 'y', 'on')
        )
    )


def _damage(path: Path, what: str) -> MalformedEventsError:
    size = path.stat().st_size
    return MalformedEventsError(
        f'{path} ({size} bytes) cannot be decoded, it may be truncated: {what}'
    )


def check_container(path: Path, max_events: int) -> None:
    """Raise unless a file is laid out so that the decoder stays within it.

    Args:
        path: The file.
        max_events: The most events that a packet may unpack to; any may unpack to 64 MiB.

    Raises:
        MalformedEventsError: The header or a packet is damaged, or a packet unpacks to more.
    """
    with path.open('rb') as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _damage(path, f'it does not begin with {_MAGIC.decode().strip()}')
        position = len(_MAGIC)
        (length,) = struct.unpack('<I', file.read(4).ljust(4, b'\0'))
        position += 4
        if length > size - position:
            raise _damage(path, f'its header at byte {position} should have {length} bytes')
        try:
            compression, table = _read_header(file.read(length))
        except (ValueError, expat.ExpatError) as error:
            raise _damage(path, f'its header at byte {position}: {error}') from error
        position += length
        # Behind the packets is a table of them, unless the recorder was stopped too early.
        end = table if table >= position else size
        if end > size:
            raise _damage(path, f'packets should end at byte {end}')
        while position < end:
            if position + 8 > end:
                raise _damage(path, f'at byte {position} a packet is cut off')
            _stream, length = struct.unpack('<II', file.read(8))
            if length > end - position - 8:
                raise _damage(
                    path,
                    f'at byte {position} begins a packet of {length} bytes, of which there are '
                    f'{end - position - 8}',
                )
            try:
                unpacked = unpacked_size(file.read(length), compression)
            except ValueError as error:
                raise _damage(path, f'packet at byte {position}: {error}') from error
            if unpacked > _FREE_BYTES:
                where = f'{path}: the packet at byte {position}'
                check_number_of_events(where, unpacked // _EVENT_BYTES, max_events)
            position += 8 + length


def _read_header(header: bytes) -> tuple[int, int]:
    """How packets are compressed, and the byte at which their table begins.

    It is a flatbuffer: a table says how far in front of it is a list of the places of its fields.
    """
    (table,) = _numbers('<I', header, 0)
    (back,) = _numbers('<i', header, table)
    (length,) = _numbers('<H', header, table - back)

    def field(slot: int, form: str, default: int) -> tuple[int, int]:
        """Value and place of a field, which may not be there."""
        (at,) = _numbers('<H', header, table - back + slot) if slot + 2 <= length else (0,)
        if not at:
            return default, 0
        (value,) = _numbers(form, header, table + at)
        return value, table + at

    compression, _ = field(4, '<i', 0)
    packets_end, _ = field(6, '<q', -1)
    forward, place = field(8, '<I', 0)
    if not place:
        raise ValueError('it has no description')
    (length,) = _numbers('<I', header, place + forward)
    start = place + forward + 4
    if length > len(header) - start:
        raise ValueError(f'its description of {length} bytes is cut off')
    _check_description(header[start : start + length])
    return compression, packets_end


def _numbers(form: str, content: bytes, at: int) -> tuple[int, ...]:
    if not 0 <= at <= len(content) - struct.calcsize(form):
        raise ValueError(f'it refers to byte {at} of its {len(content)}')
    return struct.unpack_from(form, content, at)


def _check_description(xml: bytes) -> None:
    """Refuse XML that is so deep that a parser's stack could overflow, or that has entities."""
    depth = 0

    def begin(_name: str, _attributes: dict) -> None:
        nonlocal depth
        depth += 1
        if depth > _MOST_DEPTH:
            raise ValueError(f'its description is nested more than {_MOST_DEPTH} deep')

    def leave(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise ValueError('its description declares a document type')

    xml.decode()
    parser = expat.ParserCreate('utf-8')
    parser.StartElementHandler = begin
    parser.EndElementHandler = leave
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(xml, True)


# --- how much a packet can become -----------------------------------------------------------------


def unpacked_size(packet: bytes, compression: int) -> int:
    """The most bytes that a packet can unpack to, by the headers of its blocks.

    Args:
        packet: The compressed bytes.
        compression: 0 none, 1 and 2 LZ4, 3 and 4 Zstandard.

    Raises:
        ValueError: These are no such blocks, or the compression is not known.
    """
    if compression == 0:
        return len(packet)
    if compression in (1, 2):
        return _unpacked_lz4(packet)
    if compression in (3, 4):
        return _unpacked_zstd(packet)
    raise ValueError(f'compression {compression} is not known')


def _unpacked_lz4(packet: bytes) -> int:
    """LZ4 frame format 1.6: blocks of at most 64 KiB to 4 MiB, each behind its size."""
    magic, flags, largest = _numbers('<IBB', packet, 0)
    if magic != 0x184D2204:
        raise ValueError('it is no LZ4 frame')
    most = 1 << 8 + 2 * (largest >> 4 & 7)
    # Behind the flags may be the size of the content and a dictionary's name, and is a checksum.
    at = 6 + 8 * (flags >> 3 & 1) + 4 * (flags & 1) + 1
    checksum = 4 * (flags >> 4 & 1)
    unpacked = 0
    while size := _numbers('<I', packet, at)[0]:
        stored, size = size >> 31, size & 0x7FFFFFFF
        if size > len(packet) - at - 4:
            raise ValueError(f'an LZ4 block of {size} bytes is cut off')
        unpacked += size if stored else min(most, 255 * size)
        at += 4 + size + checksum
    return unpacked


def _unpacked_zstd(packet: bytes) -> int:
    """Zstandard (RFC 8878): frames of blocks of at most 128 KiB, each behind three bytes."""
    at = unpacked = 0
    while at < len(packet):
        (magic,) = _numbers('<I', packet, at)
        if magic >> 4 == 0x184D2A5:  # to be skipped
            at += 8 + _numbers('<I', packet, at + 4)[0]
            continue
        if magic != 0xFD2FB528:
            raise ValueError('it is no Zstandard frame')
        (flags,) = _numbers('<B', packet, at + 4)
        single = flags >> 5 & 1
        size_bytes = (single, 2, 4, 8)[flags >> 6]
        at += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + size_bytes
        last = 0
        while not last:
            low, high = _numbers('<HB', packet, at)
            last, kind, size = low & 1, low >> 1 & 3, low >> 3 | high << 13
            packed = 1 if kind == 1 else size  # one byte repeated
            if packed > len(packet) - at - 3:
                raise ValueError(f'a Zstandard block of {packed} bytes is cut off')
            unpacked += 1 << 17 if kind == 2 else size
            at += 3 + packed
        at += 4 * (flags >> 2 & 1)  # checksum
    return unpacked
