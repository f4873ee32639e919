"""Writes event files, byte by byte as the formats define them, and datasets of them."""

import struct
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mmspike.events import Events


def spikingjelly_datasets(module: str) -> ModuleType:
    """A module of spikingjelly's datasets, which import torchaudio; skips the test without it."""
    pytest.importorskip('torchaudio', reason='there is no torchaudio for this torch')
    return import_module(f'spikingjelly.datasets.{module}')


def some_events(
    sensor_size: tuple[int, int], number: int = 200, seed: int = 0, first: int = 1000
) -> Events:
    """Events everywhere on a sensor, within a tenth of a second."""
    rng = np.random.default_rng(seed)
    height, width = sensor_size
    return Events(
        t=np.sort(rng.integers(first, first + 100_000, number)),
        x=rng.integers(0, width, number),
        y=rng.integers(0, height, number),
        p=rng.integers(0, 2, number),
    )


def write_aedat2(path: Path, events: Events) -> int:
    """As CIFAR10-DVS was recorded: turned by a quarter, 1 is OFF. Returns the header's length."""
    header = b'#!AER-DAT2.0\r\n# This is a raw AE data file\r\n'
    address = (127 - events.x) << 8 | (127 - events.y) << 1 | (1 - events.p)
    words = np.stack([address, events.t], axis=1).astype('>i4')
    path.write_bytes(header + words.tobytes())
    return len(header)


AEDAT3_HEADER = b'#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n'


def aedat3_packet(events: Events, overflow: int = 0, kind: int = 1, valid: int = 1) -> bytes:
    number = len(events.t)
    header = struct.pack('<hhiiiiii', kind, 1, 8, 4, overflow, number, number, number)
    words = events.x << 17 | events.y << 2 | events.p << 1 | valid
    return header + np.stack([words, events.t], axis=1).astype('<u4').tobytes()


def write_aedat3(path: Path, events: Events, packets: int = 4) -> None:
    """As DVS128 Gesture was recorded, with a packet of another kind among those of events."""
    parts = np.array_split(np.arange(len(events.t)), packets)
    content = [aedat3_packet(events.part(which)) for which in parts]
    content.insert(1, aedat3_packet(events.part(slice(0, 3)), kind=0))
    path.write_bytes(AEDAT3_HEADER + b''.join(content))


def write_atis(path: Path, events: Events) -> None:
    """As N-Caltech101 was recorded."""
    t = events.t
    fields = [events.x, events.y, events.p << 7 | t >> 16, t >> 8 & 255, t & 255]
    path.write_bytes(np.stack(fields, axis=1).astype(np.uint8).tobytes())


DAT_HEADER = b'% Data file containing CD events.\n% Version 2\n% Date 2018-01-01\n\x0c\x08'


def write_dat(path: Path, events: Events) -> None:
    """As N-Cars was recorded."""
    pixel = events.x | events.y << 14 | events.p << 28
    words = np.stack([events.t, pixel], axis=1).astype('<u4')
    path.write_bytes(DAT_HEADER + words.tobytes())


def write_npz(path: Path, events: Events) -> None:
    """As spikingjelly converts, and HARDVS (MINI) is distributed."""
    np.savez(path, **events._asdict())


def write_npy(path: Path, events: Events) -> None:
    """A structured array."""
    fields = [('t', 'u4'), ('x', 'u2'), ('y', 'u2'), ('p', 'u1')]
    array = np.empty(len(events.t), fields)
    for name, values in events._asdict().items():
        array[name] = values
    np.save(path, array)


def make_cifar10_dvs(root: Path, per_class: int = 11) -> None:
    from mmspike.datasets.event_recordings import CIFAR10DVS

    for label, name in enumerate(CIFAR10DVS.METAINFO['classes']):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            events = some_events((128, 128), seed=10 * label + i)
            write_aedat2(root / name / f'cifar10_{name}_{i}.aedat', events)


def make_n_caltech101(root: Path) -> None:
    for label, name in enumerate(('BACKGROUND_Google', 'Faces_easy', 'yin_yang')):
        (root / name).mkdir(parents=True)
        for i in range(11):
            events = some_events((180, 240), seed=label + 3 * i)
            write_atis(root / name / f'image_{i + 1:04d}.bin', events)


def make_n_cars(root: Path) -> None:
    for split, number in (('train', 3), ('test', 2)):
        for label, name in enumerate(('background', 'cars')):
            folder = root / f'n-cars_{split}' / name
            folder.mkdir(parents=True)
            for i in range(number):
                events = some_events((100, 120), seed=label + 2 * i)
                write_dat(folder / f'obj_{i:06d}_td.dat', events)


def make_har_dvs(root: Path) -> None:
    for split in ('train', 'val', 'test'):
        lines = []
        for action in (1, 300):
            name = f'action_{action:03d}/dvSave-2021_10_15_{split}'
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write_npz(root / f'{name}.npz', some_events((260, 346), seed=action))
            lines.append(f'{name} {action - 1}\n')
        (root / f'{split}_label.txt').write_text(''.join(lines))


def make_dvs128_gesture(root: Path) -> None:
    """Two gestures of each of two people, one for training, one for the test."""
    root.mkdir(parents=True)
    for split, user in (('train', 'user01_led'), ('test', 'user24_lab')):
        (root / f'trials_to_{split}.txt').write_text(f'{user}.aedat\n\n')
        write_aedat3(root / f'{user}.aedat', some_events((128, 128), 400, seed=len(split)))
        (root / f'{user}_labels.csv').write_text(
            'class,startTime_usec,endTime_usec\n1,1000,40000\n11,38000,101000\n'
        )


# What makes a small dataset in the layout that the type of a config expects.
EVENT_DATASETS = {
    'mmspike.CIFAR10DVS': make_cifar10_dvs,
    'mmspike.NCaltech101': make_n_caltech101,
    'mmspike.NCars': make_n_cars,
    'mmspike.HARDVS': make_har_dvs,
    'mmspike.DVS128Gesture': make_dvs128_gesture,
}


def make_event_dataset(kind: str, root: Path) -> None:
    """A few recordings of every split, unless they are there."""
    if not root.exists():
        EVENT_DATASETS[kind](root)
