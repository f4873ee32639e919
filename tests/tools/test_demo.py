"""The demo, made small and run as a user runs it."""

import re
import shlex
from functools import cache

import pytest
import torch

from mmspike.apis.config import load_config
from mmspike.registry import MODELS
from support.paths import ROOT
from support.small_runs import DIGITS, make_scenes

PRETRAINED = 'model.backbone.init_cfg.checkpoint'


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    make_scenes(folder)
    return folder


@pytest.fixture(scope='module')
def no_pretraining(tmp_path_factory):
    """A checkpoint of an untrained backbone."""
    path = tmp_path_factory.mktemp('weights') / 'untrained.pth'
    options = load_config(DIGITS).model.backbone
    backbone = MODELS.build(options)
    torch.save(
        dict(state_dict={f'backbone.{k}': v for k, v in backbone.state_dict().items()}), path
    )
    return path


def options_for(task, scenes, no_pretraining):
    parts = ('train', 'val', 'test')
    if task in ('cls', 'mst', 'events', 'smae'):
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


def start(run_program, task, folder, options, *arguments, **kwargs):
    command = ('tools/demo', '--task', task, '--work-dir', folder, *arguments)
    return run_program(*command, '--cfg-options', *options, **kwargs)


@pytest.fixture(scope='module')
def demo(scenes, no_pretraining, tmp_path_factory, run_program):
    """Run a task, unless a test did it before; return its folder and what was printed."""

    @cache
    def run(task):
        folder = tmp_path_factory.mktemp(task)
        options = options_for(task, scenes, no_pretraining)
        return folder, start(run_program, task, folder, options).stdout

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ('task', 'pictures', 'metric'),
    [
        ('cls', ['samples.png', 'summary.png'], 'top-1'),
        ('det', ['scenes.png'], 'mask AP'),
        ('seg', ['scenes.png'], 'mIoU'),
        ('mst', ['accuracy_over_time.png', 'samples.png', 'summary.png'], 't = 64'),
        ('events', ['events.png', 'samples.png', 'summary.png'], 'top-1'),
        (
            'smae',
            ['few_labels.png', 'reconstructions.png', 'samples.png', 'summary.png'],
            'standard deviation',
        ),
    ],
)
def test_one_task(task, pictures, metric, demo):
    folder, printed = demo(task)
    assert metric in printed
    assert 'firing rates' in printed
    drawn = sorted(folder.glob('*/pictures/*.png'))
    assert [path.name for path in drawn] == pictures
    assert all(path.read_bytes().startswith(b'\x89PNG') for path in drawn)


@pytest.mark.slow
@pytest.mark.parametrize('task', ['cls', 'det', 'seg', 'mst', 'events', 'smae'])
def test_what_is_printed(task, demo):
    folder, printed = demo(task)
    # What libraries say, and tables of all layers, are in files.
    assert 'OneDL' not in printed
    assert 'backbone.' not in printed
    assert 'stages.1' not in printed
    assert 'OneDL' in (folder / 'demo.log').read_text()
    assert 'stages.1' in next(folder.glob('*/firing_rates.txt')).read_text()
    # Nothing but files and commands is longer than a line of a terminal.
    lines = [line for line in printed.splitlines() if '/' not in line]
    assert max(map(len, lines)) <= 80
    # Remaining time from the first line on.
    progress = [line for line in lines if ' left, all ' in line]
    assert re.search(r': (training|making scenes), starting; \d:\d\d left', progress[0])
    (result,) = (line for line in lines if line.endswith(' mJ per image'))
    assert lines.index(result) < next(i for i, line in enumerate(lines) if 'results, after' in line)
    assert '(1) A difference in a few images is no error' in printed
    assert ("(2) The detector's head" in printed) == (task == 'det')


@pytest.mark.slow
@pytest.mark.parametrize('task', ['cls', 'det', 'seg', 'mst', 'events', 'smae'])
def test_the_commands_that_it_advises_work(task, demo, run_program, tmp_path):
    _, printed = demo(task)
    _, advice = printed.split('what to do next')
    commands = [shlex.split(line) for line in advice.splitlines() if line.startswith('    ')]
    assert commands
    for _, tool, *arguments in commands:
        out = ['--out', tmp_path, '--cfg-options', 'test_dataloader.dataset.indices=10']
        if tool.endswith('visualize_reconstruction.py'):  # a file, and the config has no test data
            out = ['--out', tmp_path / 'reconstruction.png']
        run_program(tool, *arguments, *out)
    assert any(tmp_path.iterdir())


@pytest.mark.slow
def test_again(scenes, no_pretraining, run_program, tmp_path):
    """A finished training is reused, an interrupted one resumed, and none is lost unasked."""
    folder, weights = tmp_path / 'demo', tmp_path / 'weights'
    options = [*options_for('cls', scenes, no_pretraining), 'train_cfg.max_epochs=2']
    arguments = (run_program, 'cls', folder, options, '--weights', weights)
    start(*arguments)
    (second,) = folder.glob('*/epoch_2.pth')
    left = weights / 'metaspikformer-digits-sfa-t1d4.pth'
    assert left.read_bytes() == second.read_bytes()

    stamp = second.stat().st_mtime_ns
    assert 'reused; --fresh starts again' in start(*arguments).stdout
    assert second.stat().st_mtime_ns == stamp

    other = start(*arguments[:3], [*options, 'train_cfg.max_epochs=3'], check=False)
    assert other.returncode == 1
    assert 'train_cfg.max_epochs was 2, is 3' in other.stderr
    assert '--fresh deletes it' in other.stderr
    assert second.stat().st_mtime_ns == stamp

    # As after a kill in the second epoch.
    for name in ('finished', 'epoch_2.pth', 'last_checkpoint'):
        (second.parent / name).unlink()
    printed = start(*arguments).stdout
    assert 'resuming the interrupted training' in printed
    assert second.exists()

    first = second.with_name('epoch_1.pth')
    stamp = first.stat().st_mtime_ns
    printed = start(*arguments, '--fresh').stdout
    assert 'reused' not in printed
    assert 'resuming' not in printed
    assert first.stat().st_mtime_ns > stamp
    assert left.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_what_cannot_be_run_is_said(tmp_path, run_program):
    (tmp_path / 'x').mkdir()
    config = next((ROOT / 'configs/detection/digit-scenes').glob('mask-rcnn*.py'))
    other = tmp_path / config.stem
    other.mkdir()
    (other / 'thesis.txt').touch()
    for arguments, message in (
        (['--task', 'cls', '--config', config], 'needs mmpretrain'),
        (['--task', 'det', '--work-dir', tmp_path], 'holds files of others'),
    ):
        done = run_program('tools/demo', *arguments, check=False)
        assert done.returncode in (1, 2)
        assert message in done.stderr.replace('\n', ' ')
        assert 'Traceback' not in done.stderr
    assert (other / 'thesis.txt').exists()
