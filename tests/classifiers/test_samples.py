from types import SimpleNamespace

import numpy as np
import pytest

from mmspike.classifiers.samples import Samples, leaf_datasets, samples_of, some_paths


class Data:
    """What is needed of a data set."""

    def __init__(self, *infos, data_root=''):
        self.infos = infos
        self.data_root = data_root

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, i):
        return self.infos[i]


class Others(Data):
    pass


def files(root, *names, data_root=None):
    infos = (dict(img_path=f'{root}/{name}', gt_label=i) for i, name in enumerate(names))
    return Data(*infos, data_root=root if data_root is None else data_root)


def concat(*parts):
    return SimpleNamespace(datasets=parts)


def test_images_in_memory():
    data = Data(dict(gt_label=3), dict(gt_label=np.int64(1)))
    assert samples_of(data) == Samples('Data', 2, 'sample_idx', None, [3, 1])


def test_labels_that_are_no_single_number():
    for label in (None, [1, 2], np.array([1])):
        assert samples_of(Data(dict(gt_label=1), dict(gt_label=label))).labels is None


def test_paths_are_below_the_data_root():
    samples = samples_of(files('data/pets', 'train/cat/1.png', 'train/dog/1.png'))
    assert samples.key == 'img_path'
    assert samples.paths == ['train/cat/1.png', 'train/dog/1.png']
    assert samples.labels == [0, 1]


@pytest.mark.parametrize('data_root', ['', '/elsewhere'])
def test_images_that_are_not_in_the_data_root(data_root):
    data = files('/data', 'train/cat/1.png', 'train/dog/2.png', data_root=data_root)
    assert samples_of(data).paths == ['cat/1.png', 'dog/2.png']


def test_one_image():
    assert samples_of(files('/data', 'cat/1.png', data_root='')).paths == ['1.png']


def test_data_sets_in_a_row():
    row = concat(
        files('data/a', '1.png'), Others(dict(img_path='data/b/1.png'), data_root='data/b')
    )
    assert samples_of(row) == Samples('Data+Others', 2, 'img_path', ['a/1.png', 'b/1.png'], None)


def test_inside_wrappers_every_sample_counts_once():
    data = Data(dict(gt_label=0))
    wrapped = SimpleNamespace(dataset=SimpleNamespace(dataset=data))
    assert list(leaf_datasets(wrapped)) == [data]
    assert samples_of(wrapped).number == 1


def test_samples_that_cannot_be_told_apart():
    memory = Data(dict(gt_label=0))
    with pytest.raises(ValueError, match='Data hold their images in memory, and each counts'):
        samples_of(concat(memory, memory))
    with pytest.raises(ValueError, match='1 of the 2 samples of Data have an img_path'):
        samples_of(concat(memory, files('a', '1.png')))
    with pytest.raises(ValueError, match=r'2 samples are of the same file 1\.png'):
        samples_of(files('a', '1.png', '1.png', '2.png'))


def test_some_paths_are_spread_over_all():
    names = [f'{i}.png' for i in range(1000)]
    assert some_paths(files('a', *names)) == [f'a/{i}.png' for i in range(0, 1000, 10)]
    assert some_paths(files('a', *names[:150])) == [f'a/{i}.png' for i in range(0, 150, 2)]
    assert some_paths(files('a', '1.png', '2.png')) == ['a/1.png', 'a/2.png']
    assert some_paths(Data(dict(gt_label=0))) == []
