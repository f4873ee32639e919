import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmspike.classifiers.logits_folder import open_logits, read_header, read_samples
from mmspike.classifiers.logits_writer import LogitsWriter
from mmspike.classifiers.samples import Samples

SAMPLES = Samples('Data', 5, 'img_path', [f'{i}.png' for i in range(5)], [0, 1, 2, 0, 1])
TEACHER = dict(config='resnet', checkpoint='resnet.pth', fingerprint='abc')
LOGITS = np.arange(15, dtype=np.float32).reshape(5, 3)


def write(folder, stop=5, samples=SAMPLES, teacher=TEACHER, logits=LOGITS):
    """Write in pairs from where the folder is, as far as ``stop``."""
    with LogitsWriter(folder, samples, teacher) as writer:
        while writer.done < stop:
            writer.append(logits[writer.done : min(writer.done + 2, stop)])
        if stop == 5:
            writer.finish()


def check(folder):
    header = read_header(folder)
    assert (header.dataset, header.samples, header.key) == ('Data', 5, 'img_path')
    assert (header.classes, header.teacher) == (3, TEACHER)
    np.testing.assert_array_equal(open_logits(folder, header), LOGITS)
    assert read_samples(folder, header) == (SAMPLES.paths, SAMPLES.labels)
    names = {path.name for path in folder.iterdir()}
    assert names == {'header.json', 'samples.json', 'logits.npy'}


def test_in_one_run(tmp_path):
    write(tmp_path / 'logits')
    check(tmp_path / 'logits')


@pytest.mark.parametrize('stop', [0, 1, 2, 4])
def test_interrupted_by_an_error(tmp_path, stop):
    write(tmp_path, stop)
    with pytest.raises(ValueError, match=f'not complete: {stop} of 5 samples'):
        read_header(tmp_path)
    with LogitsWriter(tmp_path, SAMPLES, TEACHER) as writer:
        assert writer.done == stop
    write(tmp_path)
    check(tmp_path)


def test_killed_while_writing(tmp_path):
    """What came after the last save may be on the disk, in part."""
    write(tmp_path, 2)
    with open(tmp_path / 'logits.npy', 'ab') as file:
        file.write(b'\xff' * 14)
    write(tmp_path)
    check(tmp_path)


def test_killed_before_the_header(tmp_path):
    write(tmp_path)
    state = json.loads((tmp_path / 'header.json').read_text())
    (tmp_path / 'unfinished.json').write_text(json.dumps(dict(state, done=5)))
    (tmp_path / 'header.json').unlink()
    write(tmp_path)
    check(tmp_path)


@pytest.mark.parametrize('lost', [1, 12, 13, 30, 60, 10_000])
@pytest.mark.parametrize('stop', [4, 5])
def test_logits_that_are_lost_are_written_again(tmp_path, stop, lost):
    write(tmp_path, stop)
    path = tmp_path / 'logits.npy'
    os.truncate(path, max(0, path.stat().st_size - lost))
    with LogitsWriter(tmp_path, SAMPLES, TEACHER) as writer:
        assert writer.done == max(0, stop - -(-lost // 12))
    with pytest.raises(ValueError, match='not complete'):
        read_header(tmp_path)
    write(tmp_path)
    check(tmp_path)


def test_a_complete_folder_stays(tmp_path):
    write(tmp_path)
    before = (tmp_path / 'logits.npy').stat().st_mtime_ns
    write(tmp_path, logits=LOGITS + 1)
    check(tmp_path)
    assert (tmp_path / 'logits.npy').stat().st_mtime_ns == before


@pytest.mark.parametrize('stop', [2, 5])
@pytest.mark.parametrize(
    'other',
    [
        dict(teacher=dict(TEACHER, fingerprint='abd')),
        dict(samples=replace(SAMPLES, dataset='Others')),
        dict(samples=replace(SAMPLES, number=4, paths=SAMPLES.paths[:4])),
        dict(samples=replace(SAMPLES, paths=[f'{i}.jpg' for i in range(5)])),
        dict(samples=replace(SAMPLES, labels=[0, 1, 2, 0, 2])),
        dict(samples=replace(SAMPLES, key='sample_idx', paths=None)),
    ],
)
def test_a_folder_of_something_else(tmp_path, stop, other):
    write(tmp_path, stop)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r'holds logits of 5 samples of Data by .*another --out'):
        write(tmp_path, **other)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_scores_that_are_none(tmp_path):
    with LogitsWriter(tmp_path, SAMPLES, TEACHER) as writer:
        writer.append(LOGITS[:2])
        with pytest.raises(ValueError, match=r'shape \(2, 4\), \(images, 3\) is expected'):
            writer.append(np.zeros((2, 4), np.float32))
        with pytest.raises(ValueError, match=r'shape \(3,\)'):
            writer.append(LOGITS[2])
        bad = LOGITS[2:4].copy()
        bad[1, 2] = np.inf
        with pytest.raises(ValueError, match=r'sample 3\.png hold NaN or infinity'):
            writer.append(bad)
        assert writer.done == 2


def test_progress_is_saved_now_and_then(tmp_path, monkeypatch):
    def done():
        return json.loads(Path(tmp_path, 'unfinished.json').read_text())['done']

    with LogitsWriter(tmp_path, SAMPLES, TEACHER) as writer:
        writer.append(LOGITS[:1])
        assert done() == 0
        monkeypatch.setattr('mmspike.classifiers.logits_writer.monotonic', lambda: 1e9)
        writer.append(LOGITS[1:2])
        assert done() == 2
        writer.append(LOGITS[2:3])
        assert done() == 2
    assert done() == 3
