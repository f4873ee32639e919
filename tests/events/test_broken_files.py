"""Whatever is in a file, reading it ends well or in MalformedEventsError, and within its memory.

With the hypothesis profile "nightly", 5,000 files of each format are tried; see CONTRIBUTING.md.
"""

import importlib.util
import resource
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from mmengine.registry import init_default_scope

from mmspike.datasets.event_recordings import EventFolders
from mmspike.events import MalformedEventsError, integrate_frames, read_events
from support import event_files as ef
from support.broken_files import broken, lying_npy, lying_npz
from support.paths import ROOT

CASES = max(200, settings.default.max_examples)
FUZZ = settings(
    max_examples=CASES,
    derandomize=CASES == 200,  # the same files on every run of the test suite
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SENSOR = (120, 120)
AEDAT4 = ROOT / 'tests/data/events/davis346.aedat4'
HAS_AEDAT = pytest.mark.skipif(importlib.util.find_spec('aedat') is None, reason='needs aedat')
MAX_EVENTS = 10_000


def write_compressed(path, events):
    np.savez_compressed(path, **events._asdict())


WRITERS = {
    'aedat2': ('.aedat', ef.write_aedat2),
    'aedat3': ('.aedat', ef.write_aedat3),
    'atis': ('.bin', ef.write_atis),
    'prophesee': ('.dat', ef.write_dat),
    'npz': ('.npz', ef.write_npz),
    'npz_compressed': ('.npz', write_compressed),
    'npy': ('.npy', ef.write_npy),
    'aedat4': ('.aedat4', lambda path, _: path.write_bytes(AEDAT4.read_bytes())),
}
FORMATS = [pytest.param(name, marks=HAS_AEDAT) if name == 'aedat4' else name for name in WRITERS]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """The bytes of a good file of each format."""
    folder = tmp_path_factory.mktemp('good')
    contents = {}
    for name, (suffix, write) in WRITERS.items():
        path = folder / f'{name}{suffix}'
        write(path, ef.some_events(SENSOR, 60))
        contents[name] = path.read_bytes()
    return contents


def read(path, **options):
    """The events of a file, or why it is refused, within an amount of memory."""
    most_before = resident_memory()
    tracemalloc.start()
    try:
        return read_events(path, SENSOR, max_events=MAX_EVENTS, **options), ''
    except MalformedEventsError as error:
        return None, str(error)
    finally:
        size = path.stat().st_size
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4_000_000 + 100 * size
        # Also of what Python does not see, as the decoder of AEDAT 4 is.
        assert resident_memory() - most_before < 200_000_000


def resident_memory():
    """The most memory that the process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check_reading(path, content):
    """In the three ways there are. What is refused names the file, what is not can be used."""
    path.write_bytes(content)
    for options in (dict(), dict(window=(1000, 60_000)), dict(sort=True)):
        events, refusal = read(path, **options)
        if events is None:
            assert str(path) in refusal
            continue
        assert 0 < len(events.t) <= MAX_EVENTS
        for by, duration in (('number', None), ('time', None), ('time', 2**62)):
            frames = integrate_frames(events, SENSOR, 4, by, duration)
            assert frames.sum() == len(events.t)


def contents(name, files):
    """Broken files of a format."""
    changed = broken(files[name], list(files.values()))
    if name == 'npy':
        return changed | lying_npy(fields=True)
    return changed | lying_npz() if name.startswith('npz') else changed


@pytest.mark.slow
@pytest.mark.parametrize('name', FORMATS)
def test_broken_files(tmp_path, files, name):
    path = tmp_path / f'recording{WRITERS[name][0]}'

    @FUZZ
    @given(contents(name, files))
    def check(content):
        check_reading(path, content)

    check()


@pytest.mark.parametrize('name', FORMATS)
def test_skipping_survives_them(tmp_path, files, name):
    """A dataset of broken and good files keeps the good one."""
    init_default_scope('mmpretrain')
    suffix = WRITERS[name][0]
    folder = tmp_path / 'class'
    folder.mkdir()

    @settings(FUZZ, max_examples=30, derandomize=True)
    @given(contents(name, files))
    def write(content):
        (folder / f'{zlib.crc32(content)}{suffix}').write_bytes(content)

    write()
    (folder / f'dangling{suffix}').symlink_to(folder / 'nowhere')
    (folder / f'good{suffix}').write_bytes(files[name])
    dataset = EventFolders(
        tmp_path, sensor_size=(260, 346), train_ratio=0.999, on_error='skip',
        pipeline=[dict(type='mmspike.LoadEvents')],
    )  # fmt: skip
    kept = {dataset.get_data_info(i)['img_path'] for i in range(len(dataset))}
    assert str(folder / f'good{suffix}') in kept
    assert len(kept) < len(list(folder.iterdir())) - 1
    assert all(len(dataset[i]['events'].t) for i in range(len(dataset)))
