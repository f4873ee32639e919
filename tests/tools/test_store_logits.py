import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model
from mmpretrain.registry import DATASETS

from mmspike.classifiers.logits_folder import open_logits, read_header, read_samples
from mmspike.classifiers.logits_writer import LogitsWriter
from mmspike.classifiers.samples import samples_of
from mmspike.classifiers.stored_teacher import StoredTeacher
from mmspike.classifiers.teacher import load_teacher, model_of
from mmspike.files import read_training_checkpoint
from mmspike.folder_lock import FolderLock
from support.paths import ROOT
from support.small_checkpoints import DETECTION, trained
from support.small_runs import DIGITS, make_imagenet

RESNET = ROOT / 'configs/classification/conversion/resnet18-w16_1xb32-coslr-15e_digits.py'
QCFS = RESNET.with_name('resnet18-w16-qcfs8-t1_1xb32-coslr-15e_digits.py')
NAME = 'mobilenet-v2_8xb32_in1k'


@pytest.fixture
def run(run_tool):
    """Run the tool; return its exit status and what it printed."""

    def call(config, checkpoint, *arguments, out='logits'):
        return run_tool(
            'store_logits.py', config, checkpoint, '--out', out, '--device', 'cpu', *arguments
        )

    return call


def answers(config, checkpoint):
    """Logits of the training images, after the test pipeline."""
    cfg = Config.fromfile(config)
    teacher = load_teacher(model_of(cfg), checkpoint)
    pipeline = cfg.test_dataloader.dataset.pipeline
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=pipeline))
    inputs = [dataset[i]['inputs'] for i in range(len(dataset))]
    with torch.no_grad():
        logits = teacher(teacher.data_preprocessor(dict(inputs=inputs))['inputs'])
    return dataset, logits.numpy()


@pytest.mark.parametrize('path', [RESNET, QCFS, DIGITS], ids=['resnet', 'qcfs', 'spiking'])
def test_logits_of_the_training_images(run, tmp_path, path):
    config, checkpoint = trained(path)
    status, out = run(config, checkpoint)
    assert (status, 'logits of 4 samples are in logits' in out) == (0, True)
    folder = tmp_path / 'logits'
    header = read_header(folder)
    dataset, expected = answers(config, checkpoint)
    np.testing.assert_allclose(open_logits(folder, header), expected, rtol=1e-4, atol=1e-5)
    assert (header.dataset, header.samples, header.key) == ('HandwrittenDigits', 4, 'sample_idx')
    assert (header.teacher['config'], header.teacher['checkpoint']) == ('small', checkpoint.name)
    assert read_samples(folder, header) == (None, samples_of(dataset).labels)


@pytest.mark.slow
def test_an_interrupted_run_goes_on(run, tmp_path, monkeypatch):
    files, append = trained(RESNET), LogitsWriter.append
    assert run(*files, '--batch-size', 1, out='whole')[0] == 0
    calls = []

    def interrupted(writer, logits):
        calls.append(writer.done)
        if calls == [0, 1]:
            raise KeyboardInterrupt
        append(writer, logits)

    monkeypatch.setattr(LogitsWriter, 'append', interrupted)
    status, out = run(*files, '--batch-size', 1)
    assert (status, out.endswith('run the same command again to finish\n')) == (130, True)
    status, out = run(*files, '--batch-size', 1)
    assert (status, '1 samples have their logits' in out) == (0, True)
    assert calls == [0, 1, 1, 2, 3]
    for name in ('header.json', 'samples.json', 'logits.npy'):
        whole = (tmp_path / 'whole' / name).read_bytes()
        assert (tmp_path / 'logits' / name).read_bytes() == whole
    # Once more, there is nothing to do.
    calls.clear()
    assert run(*files)[0] == 0
    assert calls == []


@pytest.mark.slow
def test_another_teacher_needs_another_folder(run, tmp_path):
    config, checkpoint = trained(RESNET)
    assert run(config, checkpoint)[0] == 0
    content = read_training_checkpoint(checkpoint)
    content['state_dict']['head.fc.bias'] += 1
    torch.save(content, tmp_path / checkpoint.name)
    for arguments in (
        (config, tmp_path / checkpoint.name),
        (config, checkpoint, '--cfg-options', 'train_dataloader.dataset.indices=3'),
        (config, checkpoint, '--cfg-options', 'test_dataloader.dataset.pipeline.1.scale=28'),
    ):
        status, _ = run(*arguments)
        assert status.startswith('store_logits: logits holds logits of 4 samples of Handwritten')


@pytest.mark.slow
def test_a_model_of_mmpretrain_by_name_on_files(run, tmp_path):
    make_imagenet(tmp_path / 'imagenet')
    torch.save(get_model(NAME).state_dict(), tmp_path / 'teacher.pth')
    options = [
        f'train_dataloader.dataset.data_root={tmp_path / "imagenet"}',
        'train_dataloader.dataset.ann_file=train.txt',
        'train_dataloader.num_workers=0',
    ]
    status, _ = run(NAME, tmp_path / 'teacher.pth', '--cfg-options', *options)
    assert status == 0
    header = read_header(tmp_path / 'logits')
    assert (header.dataset, header.classes, header.teacher['config']) == ('ImageNet', 1000, NAME)
    paths, labels = read_samples(tmp_path / 'logits', header)
    assert paths == [f'train/image_{i}.JPEG' for i in range(4)]
    assert labels == [0, 250, 500, 750]
    (tmp_path / 'imagenet/train/image_2.JPEG').write_bytes(b'no image')
    status, _ = run(NAME, tmp_path / 'teacher.pth', '--cfg-options', *options, out='other')
    assert 'image_2.JPEG cannot be read' in status
    state = json.loads((tmp_path / 'other/unfinished.json').read_text())
    assert state['done'] == 0


@pytest.mark.slow
def test_data_sets_in_wrappers(run, tmp_path):
    config, checkpoint = trained(RESNET)
    cfg = Config.fromfile(config)
    part = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=part)
    cfg.dump(tmp_path / 'small.py')
    assert run(tmp_path / 'small.py', checkpoint)[0] == 0
    assert run(config, checkpoint, out='plain')[0] == 0
    for name in ('header.json', 'samples.json', 'logits.npy'):
        plain = (tmp_path / 'plain' / name).read_bytes()
        assert (tmp_path / 'logits' / name).read_bytes() == plain
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[part, part])
    cfg.dump(tmp_path / 'two.py')
    status, _ = run(tmp_path / 'two.py', checkpoint, out='two')
    assert 'hold their images in memory' in status


@pytest.mark.slow
def test_folders_of_images_that_are_moved_afterwards(run, tmp_path):
    config, checkpoint = trained(RESNET)
    cfg = Config.fromfile(config)
    for name in ('old/1.png', 'old/2.png', 'new/1.png'):
        path = tmp_path / 'data' / name
        path = path.parent / 'cat' / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.randint(0, 256, (8, 8, 3), np.uint8))
    pipeline = cfg.test_dataloader.dataset.pipeline

    def row(root):
        parts = [
            dict(type='CustomDataset', data_root=str(root / name), pipeline=pipeline)
            for name in ('new', 'old')
        ]
        return dict(type='ConcatDataset', datasets=parts)

    cfg.train_dataloader.dataset = row(tmp_path / 'data')
    cfg.dump(tmp_path / 'small.py')
    assert run(tmp_path / 'small.py', checkpoint)[0] == 0
    teacher = StoredTeacher(tmp_path / 'logits')
    assert teacher.header.dataset == 'CustomDataset'
    (tmp_path / 'data').rename(tmp_path / 'moved')
    dataset = DATASETS.build(row(tmp_path / 'moved'))
    with pytest.raises(ValueError, match='the training data has 1 classes'):
        teacher.check_data(dataset)  # the teacher knows the ten digits
    batch = [dataset[i] for i in (2, 0, 1)]
    logits = teacher.logits(torch.zeros(3), [one['data_samples'] for one in batch])
    live = load_teacher(model_of(cfg), checkpoint)
    inputs = live.data_preprocessor(dict(inputs=[one['inputs'] for one in batch]))['inputs']
    with torch.no_grad():
        torch.testing.assert_close(logits, live(inputs), rtol=1e-4, atol=1e-5)


def test_what_it_does_not_take(run, tmp_path):
    config, checkpoint = trained(RESNET)
    assert "teacher 'resnet5' is neither a config file" in run('resnet5', checkpoint)[0]
    assert 'no checkpoint file absent.pth' in run(config, 'absent.pth')[0]
    assert 'default_scope is not mmpretrain' in run(DETECTION, checkpoint)[0]
    cfg = Config.fromfile(config)
    cfg.train_dataloader = None
    cfg.dump(tmp_path / 'small.py')
    assert 'it has no train_dataloader' in run(tmp_path / 'small.py', checkpoint)[0]
    options = ('--cfg-options', 'model.head=None', 'model.neck=None')
    shutil.copy(checkpoint, tmp_path / 'w.pth')
    assert 'answers with no scores' in run(config, tmp_path / 'w.pth', *options)[0]
    assert run(config, checkpoint, '--batch-size', 0)[0] == 2


@pytest.mark.slow
def test_one_process_per_folder(run, run_python, tmp_path):
    with FolderLock(tmp_path / 'logits', 'store_logits', '--out'):
        config, checkpoint = trained(RESNET)
        done = run_python(
            ROOT / 'tools/store_logits.py', config, checkpoint, '--out', tmp_path / 'logits',
            check=False,
        )  # fmt: skip
    assert 'another store_logits writes into' in done.stderr
    assert 'choose another --out' in done.stderr
