"""IDX files: written as mmpretrain reads them; whatever is wrong with them is said."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmpretrain.datasets import FashionMNIST

from mmspike.datasets.archives import ArchiveError
from mmspike.datasets.fashion_mnist import read_idx, write_fashion_mnist


def idx(array):
    sizes = np.array(array.shape, '>u4').tobytes()
    return b'\x00\x00\x08' + bytes([array.ndim]) + sizes + array.astype(np.uint8).tobytes()


RANDOM = np.random.default_rng(0)
FILES = {
    'train-images-idx3-ubyte': idx(RANDOM.integers(0, 256, (7, 28, 28))),
    'train-labels-idx1-ubyte': idx(RANDOM.integers(0, 10, 7)),
    't10k-images-idx3-ubyte': idx(RANDOM.integers(0, 256, (3, 28, 28))),
    't10k-labels-idx1-ubyte': idx(np.array([4, 0, 9])),
}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / 'idx'
    folder.mkdir()
    for i, (name, content) in enumerate(FILES.items()):
        packed = i % 2
        path = folder / (f'{name}.gz' if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def test_mmpretrain_reads_what_is_written(source, tmp_path):
    assert write_fashion_mnist(tmp_path / 'out', None, source) == dict(train=7, t10k=3)
    dataset = FashionMNIST(
        data_root=str(tmp_path / 'out'), split='test', test_mode=True, download=False
    )
    assert [int(one['gt_label']) for one in dataset] == [4, 0, 9]
    assert dataset[0]['img'].shape == (28, 28)


def test_a_missing_file(source, tmp_path):
    (source / 'train-labels-idx1-ubyte.gz').unlink()
    with pytest.raises(ArchiveError, match=r'neither .*train-labels-idx1-ubyte nor'):
        write_fashion_mnist(tmp_path / 'out', None, source)
    assert not (tmp_path / 'out').exists()


def test_images_of_other_labels(source, tmp_path):
    (source / 't10k-labels-idx1-ubyte.gz').write_bytes(gzip.compress(idx(np.arange(2))))
    with pytest.raises(ArchiveError, match='t10k has 3 images, but 2 labels'):
        write_fashion_mnist(tmp_path / 'out', None, source)


def test_half_a_packed_file(source, tmp_path):
    path = source / 'train-labels-idx1-ubyte.gz'
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ArchiveError, match=r'train-labels-idx1-ubyte\.gz cannot be unpacked'):
        write_fashion_mnist(tmp_path / 'out', None, source)


@given(st.binary(max_size=40), st.sampled_from([1, 3]))
def test_other_bytes_are_refused(content, dims):
    with pytest.raises(ArchiveError):
        read_idx(content, 'file', dims)


@given(st.integers(0, 60))
def test_half_a_file_is_refused(length):
    whole = idx(np.arange(48).reshape(3, 4, 4))
    with pytest.raises(ArchiveError):
        read_idx(whole[:length], 'file', 3)
