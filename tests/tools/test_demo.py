"""The demo, made small and run as a user runs it."""

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
        sizes = zip(parts, (64, 20, 20), strict=True)
        return [
            'train_cfg.max_epochs=1',
            *(f'{part}_dataloader.dataset.indices={n}' for part, n in sizes),
        ]
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
def test_one_task(task, pictures, metric, scenes, no_pretraining, tmp_path, run_python):
    command = [
        'tools/demo', '--task', task, '--work-dir', tmp_path,
        '--cfg-options', *options_for(task, scenes, no_pretraining),
    ]  # fmt: skip
    printed = run_python(*command).stdout
    assert metric in printed
    assert 'firing rates' in printed
    drawn = sorted(tmp_path.glob('*/pictures/*.png'))
    assert [path.name for path in drawn] == pictures
    assert all(path.read_bytes().startswith(b'\x89PNG') for path in drawn)


def test_unfinished_training_goes_on(tmp_path, scenes, no_pretraining, run_python):
    options = options_for('cls', scenes, no_pretraining)
    run_python('tools/demo', '--task', 'cls', '--work-dir', tmp_path, '--cfg-options', *options)
    (finished,) = tmp_path.glob('*/finished')
    finished.unlink()
    options[0] = 'train_cfg.max_epochs=2'
    printed = run_python(
        'tools/demo', '--task', 'cls', '--work-dir', tmp_path, '--cfg-options', *options
    ).stdout
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
