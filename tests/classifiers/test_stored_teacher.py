from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmspike.classifiers.logits_writer import LogitsWriter
from mmspike.classifiers.samples import Samples
from mmspike.classifiers.stored_teacher import StoredTeacher

LOGITS = np.arange(6, dtype=np.float32).reshape(3, 2)
PATHS = ['train/cat/1.png', 'train/dog/1.png', '1.png']


def stored(folder, paths=PATHS, labels=(0, 1, 1), dataset='Data'):
    key = 'sample_idx' if paths is None else 'img_path'
    samples = Samples(dataset, 3, key, paths, labels and list(labels))
    with LogitsWriter(folder, samples, {}) as writer:
        writer.append(LOGITS)
        writer.finish()
    return StoredTeacher(folder)


def sample(label=None, **metainfo):
    one = DataSample(metainfo=metainfo)
    return one if label is None else one.set_gt_label(label)


def logits(teacher, *samples):
    return teacher.logits(torch.zeros(len(samples), 3, 8, 8), list(samples)).tolist()


class Data:
    """What is needed of a data set; ``paths`` may be a number of images in memory."""

    def __init__(self, paths, classes=('cat', 'dog')):
        self.paths = paths
        self.metainfo = dict(classes=classes)

    def __len__(self):
        return self.paths if isinstance(self.paths, int) else len(self.paths)

    def get_data_info(self, i):
        return dict(sample_idx=i) if isinstance(self.paths, int) else dict(img_path=self.paths[i])


class Others(Data):
    pass


def test_by_index(tmp_path):
    teacher = stored(tmp_path, None)
    assert teacher.model is None
    # A sampler of several processes repeats some.
    asked = [sample(1, sample_idx=2), sample(0, sample_idx=0), sample(1, sample_idx=2)]
    assert logits(teacher, *asked) == LOGITS[[2, 0, 2]].tolist()


@pytest.mark.parametrize('root', ['', 'data/', '/mnt/disk/data/', 's3://bucket/', './'])
def test_by_path_wherever_the_data_lie(tmp_path, root):
    teacher = stored(tmp_path)
    asked = [sample(1, img_path=root + PATHS[1]), sample(0, img_path=root + PATHS[0])]
    assert logits(teacher, *asked) == LOGITS[[1, 0]].tolist()
    assert logits(teacher, sample(1, img_path=root + '1.png')) == LOGITS[2:].tolist()


def test_the_same_names_in_another_folder_are_other_files(tmp_path):
    teacher = stored(tmp_path)
    logits(teacher, sample(0, img_path='a/train/cat/1.png'))
    for path in ('b/train/cat/1.png', 'a/train/1.png', 'a/b/1.png', '1.png'):
        with pytest.raises(ValueError, match=rf'{path} is not among them; one of theirs is train'):
            logits(teacher, sample(0, img_path=path))


def test_the_whole_path_counts_before_its_end(tmp_path):
    """Nothing of ``train/cat/1.png`` is taken for ``1.png``, even if that comes first."""
    assert logits(stored(tmp_path), sample(0, img_path='x/train/cat/1.png')) == [[0, 1]]


def test_samples_that_do_not_say_who_they_are(tmp_path):
    with pytest.raises(ValueError, match=r"no img_path.*dict\(type='PackInputs', meta_keys=\('img"):
        logits(stored(tmp_path / 'files'), sample(0, sample_idx=0))
    with pytest.raises(ValueError, match=r"no sample_idx.*meta_keys=\('sample_idx',\)\)"):
        logits(stored(tmp_path / 'memory', None), sample(0, img_path=PATHS[0]))


def test_labels_tell_other_data(tmp_path):
    teacher = stored(tmp_path, None)
    with pytest.raises(
        ValueError, match=r'sample 1 has the label 0, and had 1 then.*other `indices'
    ):
        logits(teacher, sample(0, sample_idx=0), sample(0, sample_idx=1))
    # Without labels on either side there is nothing to compare.
    assert logits(teacher, sample(None, sample_idx=1)) == [[2, 3]]
    without = stored(tmp_path / 'without', None, labels=None)
    assert logits(without, sample(7, sample_idx=1)) == [[2, 3]]


def test_a_sample_too_many(tmp_path):
    teacher = stored(tmp_path, None)
    for index in (3, -1):
        with pytest.raises(ValueError, match=f'3 samples .* a sample {index} in training'):
            logits(teacher, sample(0, sample_idx=index))


def test_data_before_training(tmp_path):
    stored(tmp_path / 'memory', None).check_data(Data(3))
    teacher = stored(tmp_path / 'files')
    # A part of the samples will do, and so will a data set of another class.
    teacher.check_data(Others([f'data/{PATHS[1]}']))
    teacher.check_data(SimpleNamespace(datasets=[Data([f'data/{path}']) for path in PATHS]))


@pytest.mark.parametrize(
    ('paths', 'data', 'message'),
    [
        (None, Data(2), 'the training data are 2 samples of Data'),
        (None, Others(3), '3 samples of Data with 2 classes, but .* are 3 samples of Others'),
        (None, Data(3, 'abc'), 'the training data has 3 classes'),
        (PATHS, Data(['data/val/cat/1.jpg']), 'data/val/cat/1.jpg is not among them'),
        (PATHS, Data(3), 'the training data are no files'),
    ],
)
def test_other_data_before_training(tmp_path, paths, data, message):
    with pytest.raises(ValueError, match=message):
        stored(tmp_path, paths).check_data(data)
