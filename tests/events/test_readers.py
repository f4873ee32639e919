import importlib.util
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from mmspike.events import Events, MalformedEventsError, read_events
from support import event_files as ef
from support.paths import ROOT

# Suffix, what writes the format, a sensor, bytes of the header, bytes of an event.
DVS128, ATIS, NCARS = (128, 128), (180, 240), (100, 120)
FORMATS = {
    'aedat2': ('.aedat', ef.write_aedat2, DVS128),
    'aedat3': ('.aedat', ef.write_aedat3, DVS128),
    'atis': ('.bin', ef.write_atis, ATIS),
    'prophesee': ('.dat', ef.write_dat, NCARS),
    'npz': ('.npz', ef.write_npz, NCARS),
    'npy': ('.npy', ef.write_npy, NCARS),
}
ALL = pytest.mark.parametrize('name', FORMATS)
BINARY = pytest.mark.parametrize('name', ['aedat2', 'aedat3', 'atis', 'prophesee'])


def written(tmp_path, name, **changed):
    """A file of the format with some events, of which some were changed; its path and sensor."""
    suffix, write, sensor = FORMATS[name]
    events = ef.some_events(sensor)._replace(**changed)
    path = tmp_path / f'recording{suffix}'
    write(path, events)
    return path, sensor, events


def same(a: Events, b: Events) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@ALL
def test_reads_what_was_written(tmp_path, name):
    path, sensor, events = written(tmp_path, name)
    found = read_events(path, sensor)
    assert same(found, events)
    assert all(values.dtype.kind == 'i' for values in found)


@pytest.mark.parametrize(
    ('name', 'module', 'function'),
    [
        ('aedat2', 'cifar10_dvs', '_load_origin_data'),
        ('aedat3', 'utils', 'load_aedat_v3'),
        ('atis', 'utils', 'load_ATIS_bin'),
    ],
)
def test_agrees_with_spikingjelly(tmp_path, name, module, function):
    reference = getattr(ef.spikingjelly_datasets(module), function)
    path, sensor, _ = written(tmp_path, name)
    assert same(read_events(path, sensor), Events(**reference(path)))


@ALL
def test_a_window_of_time(tmp_path, name):
    path, sensor, events = written(tmp_path, name)
    window = (int(events.t[20]), int(events.t[150]))
    found = read_events(path, sensor, window)
    assert same(found, events.part((events.t >= window[0]) & (events.t < window[1])))
    assert 100 < len(found.t) < 150


@ALL
def test_order_of_time(tmp_path, name):
    t = ef.some_events((10, 10)).t
    t[70] = t[20]
    path, sensor, events = written(tmp_path, name, t=t)
    with pytest.raises(MalformedEventsError, match=r'event 70 .*earlier than .*\(1 such') as error:
        read_events(path, sensor)
    assert str(path) in str(error.value)
    assert 'sort=True' in str(error.value)
    found = read_events(path, sensor, sort=True)
    assert (np.diff(found.t) >= 0).all()
    assert sorted(zip(*found, strict=True)) == sorted(zip(*events, strict=True))


def _byte_of_event_70(name, path):
    if name == 'aedat3':
        # 200 events in 4 packets of 50, behind the first one a packet of 3 other events.
        return len(ef.AEDAT3_HEADER) + (28 + 50 * 8) + (28 + 3 * 8) + 28 + 20 * 8
    size = {'aedat2': 8, 'atis': 5, 'prophesee': 8}[name]
    return path.stat().st_size - (200 - 70) * size


@BINARY
def test_errors_name_the_byte(tmp_path, name):
    t = ef.some_events((10, 10)).t
    t[70] = t[20]
    path, sensor, _events = written(tmp_path, name, t=t)
    byte = _byte_of_event_70(name, path)
    with pytest.raises(MalformedEventsError, match=f'event 70 at byte {byte} has time'):
        read_events(path, sensor)


# Which byte of an event holds a bit of its pixel, and which bit that is.
PIXEL_BIT = {'aedat2': (3, 2), 'aedat3': (2, 2), 'atis': (0, 1), 'prophesee': (4, 1)}


@BINARY
def test_the_byte_is_where_the_event_is(tmp_path, name):
    path, sensor, events = written(tmp_path, name)
    place, bit = PIXEL_BIT[name]
    content = bytearray(path.read_bytes())
    content[_byte_of_event_70(name, path) + place] ^= bit
    path.write_bytes(content)
    found = read_events(path, sensor)
    differ = (found.x != events.x) | (found.y != events.y)
    assert np.flatnonzero(differ).tolist() == [70]


@pytest.mark.parametrize(
    ('name', 'changed', 'place'),
    [
        ('atis', dict(x=241), 'x=241'),
        ('atis', dict(y=180), 'y=180'),
        ('prophesee', dict(x=120), 'x=120'),
        ('prophesee', dict(y=5000), 'y=5000'),
        ('aedat3', dict(x=128), 'x=128'),
        ('aedat3', dict(y=300), 'y=300'),
        ('npz', dict(x=-1), 'x=-1'),
        ('npy', dict(y=100), 'y=100'),
    ],
)
def test_pixels_outside_the_sensor(tmp_path, name, changed, place):
    sensor = FORMATS[name][2]
    ((axis, value),) = changed.items()
    values = getattr(ef.some_events(sensor), axis)
    values[[9, 12]] = value
    path, sensor, _ = written(tmp_path, name, **{axis: values})
    with pytest.raises(MalformedEventsError, match=rf'event 9 .*{place}.*\(2 such') as error:
        read_events(path, sensor)
    assert f'{sensor[1]}x{sensor[0]} pixels (width x height)' in str(error.value)


def test_an_address_of_another_camera(tmp_path):
    path, sensor, _ = written(tmp_path, 'aedat2')
    content = bytearray(path.read_bytes())
    start = len(content) - 200 * 8
    content[start + 24 : start + 28] = b'\0\1\0\0'
    path.write_bytes(content)
    with pytest.raises(MalformedEventsError, match=f'event 3 at byte {start + 24} .*0x10000'):
        read_events(path, sensor)


def test_synchronisation_events_of_a_dvs128_are_no_pixels(tmp_path):
    path, sensor, events = written(tmp_path, 'aedat2')
    content = bytearray(path.read_bytes())
    start = len(content) - 200 * 8
    content[start + 24 : start + 28] = b'\0\0\x80\0'
    path.write_bytes(content)
    assert same(read_events(path, sensor), events.part(np.arange(200) != 3))


@pytest.mark.parametrize('name', ['aedat2', 'npz'])
def test_negative_times(tmp_path, name):
    t = ef.some_events((10, 10)).t
    t[0] = -5
    path, sensor, _ = written(tmp_path, name, t=t)
    with pytest.raises(MalformedEventsError, match=r'event 0 .*negative time -5'):
        read_events(path, sensor)


@ALL
def test_empty_recordings(tmp_path, name):
    suffix, write, sensor = FORMATS[name]
    path = tmp_path / f'recording{suffix}'
    nothing = np.empty(0, np.int64)
    write(path, Events(nothing, nothing, nothing, nothing))
    with pytest.raises(MalformedEventsError, match='holds no events'):
        read_events(path, sensor)


@pytest.mark.parametrize('name', ['aedat2', 'atis', 'prophesee'])
def test_truncated_in_an_event(tmp_path, name):
    path, sensor, _ = written(tmp_path, name)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    size = 5 if name == 'atis' else 8
    byte = len(content) - size
    with pytest.raises(
        MalformedEventsError, match=f'truncated.*byte {byte}, has {size - 3} of {size}'
    ):
        read_events(path, sensor)


@pytest.mark.parametrize('left', [100, 3])
def test_truncated_packets(tmp_path, left):
    path, sensor, _ = written(tmp_path, 'aedat3')
    content = path.read_bytes()
    last = len(content) - (28 + 50 * 8)
    path.write_bytes(content[: last + left])
    with pytest.raises(MalformedEventsError, match=f'truncated.*byte {last}'):
        read_events(path, sensor)
    with pytest.raises(MalformedEventsError, match='truncated'):
        read_events(path, sensor, window=(0, 2000))


def test_a_packet_that_is_none(tmp_path):
    path, sensor, _ = written(tmp_path, 'aedat3')
    path.write_bytes(ef.AEDAT3_HEADER + bytes(28) + path.read_bytes())
    with pytest.raises(MalformedEventsError, match=f'byte {len(ef.AEDAT3_HEADER)} should begin'):
        read_events(path, sensor)


@pytest.mark.parametrize('name', ['npz', 'npy'])
@pytest.mark.parametrize('left', [0, 50, 400])
def test_truncated_arrays(tmp_path, name, left):
    path, sensor, _ = written(tmp_path, name)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(MalformedEventsError, match=r'recording.* is damaged'):
        read_events(path, sensor)


@pytest.mark.parametrize(
    ('suffix', 'content', 'message'),
    [
        ('.aedat', b'', 'begins with'),
        ('.aedat', b'#!AER-DAT4.0\r\nmore', 'named .aedat4'),
        ('.aedat', b'#!AER-DAT3.1\r\n', 'no line #!END-HEADER'),
        ('.aedat', b'#!AER-DAT2.0\r\n# no end', 'within its header'),
        ('.dat', b'% no end', 'within its header'),
        ('.dat', b'% a\n\x0d\x08', 'byte 4 .*type 0 or 12'),
        ('.dat', b'% a\n', 'byte 4 .*type 0 or 12'),
    ],
)
def test_headers(tmp_path, suffix, content, message):
    path = tmp_path / f'recording{suffix}'
    path.write_bytes(content)
    with pytest.raises(MalformedEventsError, match=message):
        read_events(path, DVS128)


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(t=[1]), 'missing are x, y, p'),
        (dict(t=[1, 2], x=[1], y=[1], p=[1]), 'as long'),
        (dict(t=[1.5], x=[1], y=[1], p=[1]), 'event 0 has t=.*1.5'),
        (dict(t=[np.nan], x=[1], y=[1], p=[1]), 'event 0 has t=.*nan'),
        (dict(t=['a'], x=[1], y=[1], p=[1]), 't holds <U1'),
        (dict(t=[1], x=[1], y=[1], p=[2]), 'polarity 2'),
        (dict(t=[1, 1, 1], x=[1, 1, 1], y=[1, 1, 1], p=[1, 0, -1]), 'event 2 has polarity -1'),
    ],
)
def test_arrays_that_are_no_events(tmp_path, arrays, message):
    path = tmp_path / 'recording.npz'
    np.savez(path, **arrays)
    with pytest.raises(MalformedEventsError, match=message):
        read_events(path, DVS128)


def _npy(shape, values=b'', descr='<i8', length=None):
    """An array with a header of one's own."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".encode()
    size = struct.pack('<H', len(header) if length is None else length)
    return b'\x93NUMPY\x01\x00' + size + header + values


FIELDS = [(name, '<i8') for name in 'txyp']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (_npy((-5,), bytes(320), FIELDS), r'one dimension, but has shape \(-5,\)'),
        (_npy((2, 5), bytes(320), FIELDS), r'one dimension, but has shape \(2, 5\)'),
        (_npy((10**12,), bytes(320), FIELDS), 'promises 1000000000000 values of 32 bytes'),
        (_npy((11,), bytes(320), FIELDS), 'promises 11 values of 32 bytes'),
        (_npy((9,), bytes(320), FIELDS), 'more bytes than the 288 of 9 values'),
        (_npy((10,), bytes(320), FIELDS, length=60_000), 'header is said to be 60000 bytes long'),
        (_npy((10,), bytes(320), '<i8'), 'holds int64, not a structured array'),
        (_npy((10**7,), descr=[('t', '|V0')]), 'damaged'),
        (_npy('(10,', bytes(320), FIELDS), 'damaged'),
        (_npy('(' * 5000, bytes(320), FIELDS), 'damaged'),
        (b'\x93NUMPY\x09\x00' + bytes(20), 'damaged'),
    ],
)
def test_headers_of_arrays_that_lie(tmp_path, content, message):
    path = tmp_path / 'recording.npy'
    path.write_bytes(content)
    with pytest.raises(MalformedEventsError, match=f'recording.npy.*{message}'):
        read_events(path, DVS128)


def _archive(path, arrays, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, 'w', method) as archive:
        for name in 'txyp':
            archive.writestr(f'{name}.npy', arrays.get(name, _npy((3,), bytes(24))))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (_npy((10**12,), bytes(24)), 'promises 1000000000000 values of 8 bytes'),
        (_npy((-3,), bytes(24)), r'has shape \(-3,\)'),
        (_npy((4,), bytes(24)), 'fewer bytes than the 32 of 4 values'),
        (_npy((2,), bytes(24)), 'more bytes than the 16 of 2 values'),
        (_npy((10**6,), bytes(8 * 10**6)), 'room for 1000000 events, more than max_events=100000'),
        (_npy((3,), bytes(3000), '<U250'), 'holds <U250, not numbers'),
        (b'no array', 'damaged'),
        (b'', 'damaged'),
    ],
)
def test_archives_that_lie(tmp_path, content, message):
    path = tmp_path / 'recording.npz'
    _archive(path, dict(x=content))
    tracemalloc.start()
    with pytest.raises(MalformedEventsError, match=f'recording.npz: x .*{message}|damaged'):
        read_events(path, DVS128, max_events=100_000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_compressions_that_numpy_does_not_write(tmp_path):
    """They unpack a whole block at once, however much that is."""
    path = tmp_path / 'recording.npz'
    _archive(path, {}, zipfile.ZIP_BZIP2)
    with pytest.raises(MalformedEventsError, match=r'recording\.npz: t .*compressed by method 12'):
        read_events(path, DVS128)


@pytest.mark.parametrize('compressed', [False, True])
def test_a_flipped_bit_of_an_archive_is_seen_or_harmless(tmp_path, compressed):
    events = ef.some_events(DVS128, 3)
    path = tmp_path / 'recording.npz'
    (np.savez_compressed if compressed else np.savez)(path, **events._asdict())
    content = path.read_bytes()
    refused = 0
    places = range(0, len(content), 7)
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            found = read_events(path, DVS128)
        except MalformedEventsError:
            refused += 1
        else:
            assert same(found, events)
    assert refused > len(places) / 2


@ALL
def test_too_many_events(tmp_path, name):
    path, sensor, events = written(tmp_path, name)
    message = r'room for 2\d\d events, more than max_events=199, .*LoadEvents\(max_events='
    with pytest.raises(MalformedEventsError, match=message):
        read_events(path, sensor, max_events=199)
    assert same(read_events(path, sensor, max_events=260), events)


@pytest.mark.parametrize('suffix', ['.aedat', '.bin', '.dat', '.npy', '.npz'])
def test_files_that_are_larger_than_the_memory(tmp_path, suffix):
    path = tmp_path / f'recording{suffix}'
    with path.open('wb') as file:
        file.truncate(1 << 40)
    with pytest.raises(MalformedEventsError, match='recording'):
        read_events(path, DVS128)


@pytest.mark.parametrize(
    'value', [np.uint64(2**63), np.float64(2**63), np.float64(1e300), np.float32(-1e30)]
)
def test_times_of_more_than_64_bits(tmp_path, value):
    path = tmp_path / 'recording.npz'
    np.savez(path, t=np.array([0, value], type(value)), x=[1, 1], y=[1, 1], p=[1, 0])
    with pytest.raises(MalformedEventsError, match=r'event 1 has t=.* more than 64 bits'):
        read_events(path, DVS128)


def test_arrays_are_never_unpickled(tmp_path):
    path = tmp_path / 'recording.npy'
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(MalformedEventsError, match=r'recording\.npy holds object, not a str'):
        read_events(path, DVS128)


def test_unsigned_times_backwards_are_seen(tmp_path):
    path = tmp_path / 'recording.npz'
    np.savez(path, t=np.array([5, 4], np.uint32), x=[1, 1], y=[1, 1], p=[True, False])
    with pytest.raises(MalformedEventsError, match='event 1 has time 4'):
        read_events(path, DVS128)


def test_polarities_of_minus_one_and_one(tmp_path):
    events = ef.some_events(DVS128)
    path = tmp_path / 'recording.npz'
    ef.write_npz(path, events._replace(p=2 * events.p - 1))
    assert same(read_events(path, DVS128), events)


def test_errors_in_a_window_name_it(tmp_path):
    path, sensor, events = written(tmp_path, 'aedat3', y=np.full(200, 128))
    window = (int(events.t[20]), int(events.t[150]))
    message = f'recording.aedat from {window[0]} to before {window[1]} us: event 0 at byte'
    with pytest.raises(MalformedEventsError, match=message):
        read_events(path, sensor, window)


def test_time_beyond_31_bits(tmp_path):
    events = ef.some_events(DVS128)
    path = tmp_path / 'recording.aedat'
    first, second = events.part(slice(0, 100)), events.part(slice(100, None))
    path.write_bytes(
        ef.AEDAT3_HEADER + ef.aedat3_packet(first) + ef.aedat3_packet(second, overflow=1)
    )
    found = read_events(path, DVS128)
    assert np.array_equal(found.t[100:], second.t + 2**31)
    assert len(read_events(path, DVS128, window=(2**31, 2**32)).t) == 100


def test_events_that_the_recorder_rejected_are_left_out(tmp_path):
    events = ef.some_events(DVS128)
    path = tmp_path / 'recording.aedat'
    first, second = events.part(slice(0, 100)), events.part(slice(100, None))
    path.write_bytes(ef.AEDAT3_HEADER + ef.aedat3_packet(first, valid=0) + ef.aedat3_packet(second))
    assert same(read_events(path, DVS128), second)


def test_row_240_adds_to_later_times(tmp_path):
    events = ef.some_events(ATIS, 30)
    y, t = events.y.copy(), events.t.copy()
    y[[10, 20]] = 240
    t[10:] -= 2**13
    t[20:] -= 2**13
    path = tmp_path / 'recording.bin'
    base = t.min()
    ef.write_atis(path, events._replace(y=y, t=t - base))
    kept = np.delete(np.arange(30), [10, 20])
    found = read_events(path, ATIS, sort=True)
    assert np.array_equal(found.t + base, events.t[kept])
    assert same(found._replace(t=events.t[kept]), events.part(kept))


def test_no_such_file_or_format(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no event file'):
        read_events(tmp_path / 'a.dat', DVS128)
    with pytest.raises(ValueError, match=r'a\.txt is of no known format.*\.aedat'):
        read_events(tmp_path / 'a.txt', DVS128)


# 40 events that dv-processing 2.0.4 wrote, compressed by LZ4.
AEDAT4 = ROOT / 'tests/data/events/davis346.aedat4'
HAS_AEDAT = pytest.mark.skipif(importlib.util.find_spec('aedat') is None, reason='needs aedat')


@HAS_AEDAT
def test_aedat4():
    found = read_events(AEDAT4, (260, 346))
    assert len(found.t) == 40
    assert [tuple(int(values[i]) for values in found) for i in (0, 1)] == [
        (1_634_292_000_000_136, 139, 7, 0),
        (1_634_292_000_000_826, 43, 2, 1),
    ]


@HAS_AEDAT
@pytest.mark.parametrize('left', [0, 10, 700])
def test_truncated_aedat4(tmp_path, left):
    path = tmp_path / 'recording.aedat4'
    path.write_bytes(AEDAT4.read_bytes()[:left])
    with pytest.raises(MalformedEventsError, match=r'recording.aedat4 \(\d+ bytes\) cannot be'):
        read_events(path, (260, 346))


def _changed_aedat4(tmp_path, place, new):
    path = tmp_path / 'recording.aedat4'
    content = bytearray(AEDAT4.read_bytes())
    content[place : place + len(new)] = new
    path.write_bytes(content)
    return path


# Where things are in that file: length of the header, place of its table, length of the
# description, a packet, an LZ4 frame, its block.
LENGTH, TABLE, DESCRIPTION, PACKET, FRAME, BLOCK = 14, 18, 62, 822, 830, 837


@HAS_AEDAT
@pytest.mark.parametrize(
    ('place', 'new', 'message'),
    [
        (0, b'#!AER-DAT5', 'does not begin with #!AER-DAT4.0'),
        (LENGTH, b'\xff\xff\xff\xff', 'header at byte 18 should have 4294967295 bytes'),
        (TABLE, b'\xff\xff\xff\x7f', 'header at byte 18: it refers to byte 2147483647'),
        (DESCRIPTION, b'\xff\xff\xff\x7f', 'description of 2147483647 bytes is cut off'),
        (DESCRIPTION + 4, b'<d<>', 'header at byte 18: '),
        (DESCRIPTION + 4, b'\xff', 'header at byte 18: '),
        (PACKET + 4, b'\xff\xff\xff\xff', 'byte 822 begins a packet of 4294967295 bytes'),
        (FRAME, b'\0', 'packet at byte 822: it is no LZ4 frame'),
        (BLOCK, b'\xff\xff', 'packet at byte 822: an LZ4 block of 65535 bytes is cut off'),
    ],
)
def test_damaged_aedat4(tmp_path, place, new, message):
    """The decoder would end the process, read outside its buffers or take gigabytes."""
    path = _changed_aedat4(tmp_path, place, new)
    with pytest.raises(MalformedEventsError, match=rf'aedat4 \(1433 bytes\) cannot.*{message}'):
        read_events(path, (260, 346))


@HAS_AEDAT
def test_an_aedat4_file_that_ends_between_packets(tmp_path):
    """Its header says that packets should follow."""
    path = tmp_path / 'recording.aedat4'
    path.write_bytes(AEDAT4.read_bytes()[:PACKET])
    with pytest.raises(MalformedEventsError, match='packets should end at byte 1327'):
        read_events(path, (260, 346))


@HAS_AEDAT
@pytest.mark.parametrize('description', [b'<a>' * 50_000, b'<!DOCTYPE a [<!ENTITY b "b">]><a/>'])
def test_descriptions_that_no_camera_writes(tmp_path, description):
    content = AEDAT4.read_bytes()
    head = content[18:DESCRIPTION] + struct.pack('<I', len(description)) + description
    path = tmp_path / 'recording.aedat4'
    path.write_bytes(content[:14] + struct.pack('<I', len(head)) + head + content[PACKET:])
    with pytest.raises(MalformedEventsError, match=r'description (is nested|declares)'):
        read_events(path, (260, 346))


@HAS_AEDAT
def test_an_aedat4_packet_that_unpacks_to_very_much(tmp_path):
    """Blocks of Zstandard that repeat one byte: 128 KiB for 4 bytes."""
    size = 1 << 17
    block = struct.pack('<I', size << 3 | 1 << 1)  # three bytes of header, the byte is 0
    bomb = b'\x28\xb5\x2f\xfd\x00\x58' + block * 4000 + b'\1\0\0'
    content = bytearray(AEDAT4.read_bytes()[:PACKET])
    content[46:50] = struct.pack('<i', 3)
    content[54:62] = struct.pack('<q', -1)
    path = tmp_path / 'recording.aedat4'
    path.write_bytes(content + struct.pack('<II', 0, len(bomb)) + bomb)
    message = 'packet at byte 822 has room for 32768000 events, more than max_events=1000000,'
    with pytest.raises(MalformedEventsError, match=message):
        read_events(path, (260, 346), max_events=1_000_000)


@HAS_AEDAT
def test_too_many_events_of_aedat4():
    with pytest.raises(MalformedEventsError, match='room for 40 events, more than max_events=39,'):
        read_events(AEDAT4, (260, 346), max_events=39)
    assert len(read_events(AEDAT4, (260, 346), max_events=40).t) == 40


def test_aedat4_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'aedat', None)
    with pytest.raises(ImportError, match=r'davis346\.aedat4 needs .*pip install aedat'):
        read_events(AEDAT4, (260, 346))
