import json
import os

import numpy as np
import pytest

from mmspike.classifiers.logits_folder import open_logits, read_header, read_samples
from mmspike.classifiers.logits_writer import LogitsWriter
from mmspike.classifiers.samples import Samples


@pytest.fixture
def folder(tmp_path):
    with LogitsWriter(tmp_path, Samples('Data', 2, 'img_path', ['a', 'b'], [0, 1]), {}) as writer:
        writer.append(np.ones((2, 3)))
        writer.finish()
    return tmp_path


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no folder .*absent .*tools/store_logits\.py'):
        read_header(tmp_path / 'absent')
    with pytest.raises(ValueError, match=r'holds no stored logits, it has no header\.json'):
        read_header(tmp_path)


@pytest.mark.parametrize('content', [b'', b'{"dataset"', b'[]', b'\xff\xfe', b'{"format": 1}'])
def test_a_damaged_header(folder, content):
    (folder / 'header.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'header\.json .*delete the folder and store'):
        read_header(folder)


def test_another_format(folder):
    change(folder / 'header.json', format=2)
    with pytest.raises(ValueError, match='has format 2, this version of mmspike reads 1'):
        read_header(folder)


@pytest.mark.parametrize(
    'values',
    [dict(paths=['a']), dict(paths=None), dict(paths='ab'), dict(labels=[1, 2, 3]), dict(labels=2)],
)
def test_samples_that_are_not_those_of_the_header(folder, values):
    change(folder / 'samples.json', **values)
    with pytest.raises(ValueError, match=r'samples\.json does not list the 2 samples'):
        read_samples(folder, read_header(folder))


def test_missing_samples(folder):
    (folder / 'samples.json').unlink()
    with pytest.raises(ValueError, match=r'samples\.json cannot be read'):
        read_samples(folder, read_header(folder))


@pytest.mark.parametrize('size', [0, 5, 100, 130, 151])
def test_truncated_logits(folder, size):
    os.truncate(folder / 'logits.npy', size)
    with pytest.raises(
        ValueError, match=rf'logits\.npy \({size} bytes\) is damaged .*2 samples and 3 classes'
    ):
        open_logits(folder, read_header(folder))


def test_missing_logits(folder):
    (folder / 'logits.npy').unlink()
    with pytest.raises(ValueError, match=r'logits\.npy \(missing\) is damaged'):
        open_logits(folder, read_header(folder))


@pytest.mark.parametrize('logits', [np.ones((2, 4), np.float32), np.ones((2, 3))])
def test_logits_of_another_shape(folder, logits):
    np.save(folder / 'logits.npy', logits)
    with pytest.raises(ValueError, match='float32 logits of 2 samples and 3 classes are expected'):
        open_logits(folder, read_header(folder))


def test_logits_in_an_archive(folder):
    np.savez(folder / 'archive.npz', np.ones((2, 3), np.float32))
    (folder / 'archive.npz').rename(folder / 'logits.npy')
    with pytest.raises(ValueError, match='damaged'):
        open_logits(folder, read_header(folder))


def test_logits_that_would_run_code(folder):
    np.save(folder / 'logits.npy', np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match='damaged'):
        open_logits(folder, read_header(folder))
