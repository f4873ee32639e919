import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from mmspike.datasets import recorded_digits as cached
from mmspike.datasets.digits import digits_of_split
from mmspike.datasets.event_digits import EventDigits
from mmspike.events.camera import EventCamera
from support.paths import ROOT

# A tenth of the time that is simulated by default.
SHORT = dict(saccade=10_000)


@pytest.fixture
def few(monkeypatch):
    """Only the first digits of each split."""
    monkeypatch.setattr(
        cached, 'digits_of_split', lambda split: [part[:20] for part in digits_of_split(split)]
    )


def bytes_in(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_samples(tmp_path):
    dataset = EventDigits('test', tmp_path, camera=SHORT)
    labels = digits_of_split('test')[1]
    assert len(dataset) == 360
    assert dataset.get_gt_labels().tolist() == labels.tolist()
    assert dataset.metainfo['classes'] == tuple('0123456789')
    sample = dataset.get_data_info(7)
    assert sample['sensor_size'] == (32, 32)
    assert (np.diff(sample['events'].t) >= 0).all()
    assert sample['events'].t.max() <= 30_000
    numbers = [len(dataset.get_data_info(i)['events'].t) for i in range(360)]
    assert 500 < min(numbers) < max(numbers) < 5000


def test_structure_of_the_default_recordings(tmp_path):
    """What the published accuracy was measured on: counts, not floats, of some recordings."""
    digits, labels = digits_of_split('test')
    keys = [(1, i) for i in range(30)]
    recordings = cached.record_pictures(digits[:30] / np.float32(255), EventCamera(), keys)
    numbers = [len(one.t) for one in recordings]
    # A processor whose logarithm rounds otherwise may move a few events.
    assert sum(numbers) == pytest.approx(88_382, rel=0.005)
    assert np.mean([one.p.mean() for one in recordings]) == pytest.approx(0.509, abs=0.005)
    assert Counter(labels[:30].tolist())[0] > 0
    counts = np.zeros((32, 32))
    for one in recordings:
        np.add.at(counts, (one.y, one.x), 1)
    assert 14 < (counts.sum(axis=0) * np.arange(32)).sum() / counts.sum() < 17
    assert counts[:2].sum() < 0.03 * counts.sum()


def test_same_bytes_on_every_run(few, tmp_path):
    for name in 'ab':
        EventDigits('test', tmp_path / name, camera=SHORT)
    assert bytes_in(tmp_path / 'a') == bytes_in(tmp_path / 'b')
    assert len(bytes_in(tmp_path / 'a')) == 1


def test_recordings_are_reused(few, tmp_path, monkeypatch):
    first = EventDigits('test', tmp_path, camera=SHORT)
    monkeypatch.setattr(cached, 'record_pictures', None)
    second = EventDigits('test', tmp_path, camera=SHORT)
    for i in (0, 19):
        a, b = (one.get_data_info(i)['events'] for one in (first, second))
        assert all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize('change', ['camera', 'version', 'split'])
def test_what_changes_recordings_makes_new_ones(tmp_path, monkeypatch, change):
    before = cached.cache_path('test', tmp_path, EventCamera())
    if change == 'version':
        monkeypatch.setattr(cached, 'VERSION', cached.VERSION + 1)
    camera = EventCamera(threshold=0.31) if change == 'camera' else EventCamera()
    after = cached.cache_path('train' if change == 'split' else 'test', tmp_path, camera)
    assert before != after


@pytest.mark.parametrize('damage', ['cut', 'empty', 'other arrays'])
def test_a_damaged_file_is_recorded_anew(few, tmp_path, damage):
    EventDigits('test', tmp_path, camera=SHORT)
    before = bytes_in(tmp_path)
    (path,) = tmp_path.iterdir()
    if damage == 'other arrays':
        with np.load(path) as content:
            arrays = dict(content)
        np.savez(path, **dict(arrays, t=arrays['t'][:-1]))
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == 'cut' else 0])
    EventDigits('test', tmp_path, camera=SHORT)
    assert bytes_in(tmp_path) == before


@pytest.mark.slow
def test_two_processes_at_once(tmp_path):
    code = (
        'from mmspike.events.camera import EventCamera\n'
        'from mmspike.datasets.recorded_digits import event_digits\n'
        f'events, _ = event_digits("test", {str(tmp_path)!r}, EventCamera(saccade=10_000))\n'
        'print(len(events), len(events[359].t))'
    )
    processes = [
        subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = {process.communicate(timeout=300)[0].split('\n')[-2] for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert len(answers) == 1
    assert len(bytes_in(tmp_path)) == 1  # and nothing half written


def test_goes_through_a_pipeline(few, tmp_path):
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(
        dict(
            type='mmspike.EventDigits',
            split='test',
            data_root=str(tmp_path),
            camera=SHORT,
            indices=5,
            pipeline=[
                dict(type='mmspike.IntegrateEvents', timesteps=4),
                dict(type='mmspike.PackEventFrames'),
            ],
        )
    )
    assert len(dataset) == 5
    assert dataset[3]['inputs'].shape == (4, 2, 32, 32)


def test_unknown_arguments(tmp_path):
    with pytest.raises(ValueError, match="got 'val'"):
        EventDigits('val', tmp_path)
    with pytest.raises(TypeError, match='shutter'):
        EventDigits('test', tmp_path, camera=dict(shutter=1))
