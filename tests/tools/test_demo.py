"""The demo, made small and run as a user runs it."""

from functools import cache

import pytest
import torch
from small_runs import ROOT, make_scenes

PRETRAINED = 'model.backbone.init_cfg.checkpoint'


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    make_scenes(folder)
    return folder


@pytest.fixture(scope='module')
def no_pretraining(tmp_path_factory):
    """A checkpoint without weights."""
    path = tmp_path_factory.mktemp('weights') / 'empty.pth'
    torch.save(dict(state_dict={'backbone.nothing': torch.zeros(1)}), path)
    return path


def options_for(task, scenes, no_pretraining):
    parts = ('train', 'val', 'test')
    if task in ('cls', 'mst', 'events'):
        datasets = [f'{part}_dataloader.dataset' for part in parts]
        sizes = zip(datasets, (64, 20, 20), strict=True)
        options = ['train_cfg.max_epochs=1', *(f'{one}.indices={n}' for one, n in sizes)]
        if task == 'events':
            options += [f'{one}.camera.saccade=10_000' for one in datasets]
            options += [f'{one}.data_root={scenes}/events' for one in datasets]
        return options
    options = [
        f'{PRETRAINED}={no_pretraining}',
        *(f'{part}_dataloader.dataset.data_root={scenes}/' for part in parts),
    ]
    if task == 'seg':
        return [*options, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    annotations = f'{scenes}/annotations/instances_validation.json'
    return [
        *options,
        'train_cfg.max_epochs=1',
        'model.test_cfg.rcnn.score_thr=0.0',
        *(f'{part}_evaluator.ann_file={annotations}' for part in parts[1:]),
    ]


@pytest.fixture(scope='module')
def demo(scenes, no_pretraining, tmp_path_factory, run_python):
    """Run a task, unless a test did it before; return its folder and what was printed."""

    @cache
    def run(task, *more):
        folder = run(task)[0] if more else tmp_path_factory.mktemp(task)
        options = (*options_for(task, scenes, no_pretraining), *more)
        command = ('tools/demo', '--task', task, '--work-dir', folder, '--cfg-options', *options)
        return folder, run_python(*command).stdout

    return run


@pytest.mark.parametrize(
    ('task', 'pictures', 'metric'),
    [
        ('cls', ['samples.png', 'summary.png'], 'top-1'),
        ('det', ['scenes.png'], 'mask AP'),
        ('seg', ['scenes.png'], 'mIoU'),
        ('mst', ['accuracy_over_time.png', 'samples.png', 'summary.png'], 't = 64'),
        ('events', ['events.png', 'samples.png', 'summary.png'], 'top-1'),
    ],
)
def test_one_task(task, pictures, metric, demo):
    folder, printed = demo(task)
    assert metric in printed
    assert 'firing rates' in printed
    drawn = sorted(folder.glob('*/pictures/*.png'))
    assert [path.name for path in drawn] == pictures
    assert all(path.read_bytes().startswith(b'\x89PNG') for path in drawn)


def test_unfinished_training_goes_on(demo):
    folder, _ = demo('cls')
    (finished,) = folder.glob('*/finished')
    finished.unlink()
    _, printed = demo('cls', 'train_cfg.max_epochs=2')
    assert 'going on with the training that was interrupted' in printed
    assert 'epoch_2.pth' in printed


def test_what_cannot_be_run_is_said(tmp_path, run_python):
    (tmp_path / 'x').mkdir()
    config = next((ROOT / 'configs/detection/digit-scenes').glob('mask-rcnn*.py'))
    other = tmp_path / config.stem
    other.mkdir()
    (other / 'thesis.txt').touch()
    for arguments, message in (
        (['--task', 'cls', '--config', config], 'needs mmpretrain'),
        (['--task', 'det', '--work-dir', tmp_path], 'holds files of others'),
    ):
        done = run_python('tools/demo', *arguments, check=False)
        assert done.returncode in (1, 2)
        assert message in done.stderr.replace('\n', ' ')
        assert 'Traceback' not in done.stderr
    assert (other / 'thesis.txt').exists()
