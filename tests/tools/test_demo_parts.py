"""Parts of the demo that can be tried without training."""

import io
import os
import re
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from rich.console import Console

from support.paths import ROOT


@pytest.fixture
def parts(monkeypatch):
    """Import a module of the demo by its name, also where a benchmark has the same name."""
    folder = ROOT / 'tools/demo'
    monkeypatch.syspath_prepend(folder)
    for path in folder.glob('[!_]*.py'):
        loaded = sys.modules.get(path.stem)
        if loaded is not None and Path(loaded.__file__) != path:
            monkeypatch.delitem(sys.modules, path.stem)
    return lambda name: __import__(name)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize('slowness', [0.5, 1, 4])
def test_remaining_time_follows_the_machine(parts, clock, slowness):
    estimate = parts('progress').Estimate(clock)
    for step, seconds in (('a', 400), ('b', 100), ('c', 500)):
        estimate.expect(step, seconds)
    estimate.begin('a')
    # Before anything is done, what is expected; then it counts down.
    assert (estimate.step_left, estimate.all_left) == (400, 1000)
    clock.now += 10
    assert (estimate.step_left, estimate.all_left) == (390, 990)
    clock.now += 200 * slowness - 10
    estimate.advance(0.5)
    # 20 seconds at the expected speed are added to both sides.
    pace = (200 * slowness + 20) / 220
    assert estimate.step_left == pytest.approx(200 * pace)
    assert estimate.all_left == pytest.approx(800 * pace)
    clock.now += 5
    estimate.advance(0.5)  # nothing new
    assert estimate.step_left == pytest.approx(200 * pace - 5)
    clock.now += 200 * slowness - 5
    estimate.advance(1.0)
    assert estimate.step_left == 0
    estimate.finish()
    estimate.skip('b')
    estimate.begin('c')
    assert estimate.all_left == pytest.approx(500 * (400 * slowness + 20) / 420)
    assert estimate.share == pytest.approx(400 * slowness / (400 * slowness + estimate.all_left))


def test_remaining_time_of_one_thread(parts, clock, monkeypatch):
    progress = parts('progress')
    estimate = progress.Estimate(clock, slowness=1.5)
    for step, seconds in (('a', 400), ('b', 100)):
        estimate.expect(step, seconds)
    estimate.begin('a')
    assert (estimate.step_left, estimate.all_left) == (600, 750)
    # A fast machine: the first guess counts as so many seconds.
    clock.now += 100
    estimate.advance(0.5)
    pace = (100 + 20 * 1.5) / 220
    assert estimate.step_left == pytest.approx(200 * pace)
    assert estimate.all_left == pytest.approx(300 * pace)
    for threads, expected in ((1, 1000 * progress.ONE_THREAD), (2, 1000)):
        monkeypatch.setattr(torch, 'get_num_threads', lambda threads=threads: threads)
        steps = progress.Steps(Console(file=io.StringIO()))
        steps.expect('task', dict(train=1000))
        steps.estimate.begin('task: train')
        assert steps.estimate.step_left == pytest.approx(expected, abs=5)


def test_time_in_words(parts):
    in_minutes = parts('progress').in_minutes
    assert [in_minutes(s) for s in (0, 59.6, 125, 3725)] == ['0:00', '1:00', '2:05', '1:02:05']


def test_without_a_terminal_there_are_lines_even_if_nothing_advances(parts, monkeypatch):
    progress = parts('progress')
    assert progress.BETWEEN_LINES < 30
    monkeypatch.setattr(progress, 'BETWEEN_LINES', 0.05)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)  # expected times stay as they are
    text = io.StringIO()
    steps = progress.Steps(Console(file=text))
    steps.expect('classification', dict(training=160.0, evaluation=12.0))
    with steps.step('classification', 'training') as update:
        time.sleep(0.12)
        update(0.25, 'epoch 3.2/15, loss 0.61')
        time.sleep(0.12)
    first, *others = text.getvalue().splitlines()
    assert first == 'classification: training, starting; 2:40 left, all 2:52'
    assert len(others) >= 2
    assert re.fullmatch(
        r'classification: training, epoch 3.2/15, loss 0.61; [\d:]+ left, all [\d:]+', others[-1]
    )


@pytest.mark.parametrize(
    ('activity', 'position'),
    [
        ('training', 'epoch 12.3/15, top-1 98.6 %'),
        ('training', 'iter 1500/1500, loss 0.61'),
        ('64 steps, all spikes', 'batch 100/100'),
        ('making scenes', 'scene 1000/1000'),
    ],
)
def test_bars_fit_80_characters(parts, activity, position):
    progress = parts('progress')
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, color_system=None)
    steps = progress.Steps(console)
    steps.expect('x', {activity: 36000.0})
    with steps.step('x', activity) as update:
        update(0.0, position)
        time.sleep(0.6)  # bars are drawn four times a second
    lines = re.sub(r'\x1b\[[^a-zA-Z]*[a-zA-Z]', '', text.getvalue()).replace('\r', '\n').split('\n')
    assert max(map(len, lines)) <= 80
    shown = [line for line in lines if position in line]
    assert shown
    assert all(re.search(r' \d+:\d\d:\d\d left$', line) for line in shown)
    assert any(re.search(r'^whole demo .* \d+:\d\d:\d\d left$', line) for line in lines)


def test_what_is_printed_meanwhile_does_not_reach_the_terminal(parts, capsys):
    text = io.StringIO()
    steps = parts('progress').Steps(Console(file=text, force_terminal=True, width=80))
    steps.expect('x', dict(training=10.0))
    with steps.step('x', 'training'):
        print('Loads checkpoint')  # noqa: T201
        print('beware', file=sys.stderr)  # noqa: T201
    assert 'whole demo' in text.getvalue()
    assert 'Loads' not in text.getvalue()
    assert 'beware' not in text.getvalue()
    assert capsys.readouterr() == ('Loads checkpoint\n', 'beware\n')


def test_settings_are_compared_value_by_value(parts, tmp_path):
    record = parts('records').Record(tmp_path)
    cfg = Config(dict(train_cfg=dict(max_epochs=15), pipeline=[dict(type='A'), dict(type='B')]))
    assert record.changes(cfg) == []
    assert not record.of_others
    record.begin(cfg)
    assert record.changes(cfg) == []
    other = Config(
        dict(train_cfg=dict(max_epochs=2), pipeline=[dict(type='A'), dict(type='C')], more=1)
    )
    quiet = Config(dict(cfg.to_dict(), default_hooks=dict(x=1), log_level='ERROR'))
    assert record.changes(quiet) == []
    assert record.changes(other) == [
        'more was not set, is 1',
        "pipeline.1.type was 'B', is 'C'",
        'train_cfg.max_epochs was 15, is 2',
    ]
    # Settings are those of the beginning.
    record.begin(other)
    assert record.changes(cfg) == []


def test_finished_trainings_have_a_date(parts, tmp_path):
    record = parts('records').Record(tmp_path)
    assert record.finished() is None
    record.finish(155.4, resumed=True)
    finished = record.finished()
    assert time.strptime(finished.date, '%Y-%m-%d %H:%M')
    assert finished.took == '155 s since it was resumed'
    # An empty file, as earlier versions left it.
    path = tmp_path / 'finished'
    written = path.stat().st_mtime
    path.write_text('')
    os.utime(path, (written, written))
    assert record.finished().took == 'earlier'
    assert record.finished().date == finished.date


@pytest.mark.parametrize(
    ('trainings', 'took'),
    [
        ([('1', 10.0, False), ('2', 5.4, False)], '15 s'),
        ([('1', 10.0, True), ('2', 5.4, False)], '15 s since it was resumed'),
        ([('1', None, False), ('2', 5.4, False)], 'earlier'),
    ],
)
def test_trainings_together(parts, trainings, took):
    records = parts('records')
    together = records.together([records.Training(*one) for one in trainings])
    assert (together.took, together.date) == (took, '2')


def test_networks_of_masked_pretraining(parts, tmp_path):
    """Seeds, labels and the beginning differ between them, and nothing else."""
    smae, network = parts('smae'), parts('network')
    options = {'train_cfg.max_epochs': 3, 'test_dataloader.batch_size': 7}
    demo = network.Demo(tmp_path, tmp_path / 'weights', None)
    task = smae.MaskedPreTraining.with_options(options, demo)
    assert task.trainings == [task.pretraining, *task.networks['pre-trained'],
                              *task.networks['from scratch']]  # fmt: skip
    assert task.networks['pre-trained'][0] is task
    assert len({one.work_dir for one in task.trainings}) == 7
    assert len({one.title for one in task.trainings}) == 7
    # The pre-training has no test set.
    assert task.pretraining.cfg.train_cfg.max_epochs == 3
    assert task.pretraining.cfg.test_dataloader is None
    for pretrained, scratch in zip(*task.networks.values(), strict=True):
        assert pretrained.seed == scratch.seed == pretrained.cfg.train_dataloader.dataset.seed
        changes = set(parts('records').values_of(pretrained.cfg).items()) ^ set(
            parts('records').values_of(scratch.cfg).items()
        )
        assert {key.rpartition('init_cfg')[0] for key, _ in changes} == {'model.backbone.'}
        assert scratch.cfg.train_cfg.max_epochs == 3
        assert scratch.num_images == pretrained.num_images == 142
    assert [one.seed for one in task.networks['from scratch']] == [0, 1, 2]
    # Networks of a tenth of the labels are of no use elsewhere.
    assert [one.leaves_weights for one in task.trainings] == [True] + 6 * [False]


def test_folders_of_others_are_known(parts, tmp_path):
    (tmp_path / 'thesis.txt').touch()
    record = parts('records').Record(tmp_path)
    assert record.of_others
    record.begin(Config())
    assert not record.of_others


@pytest.mark.parametrize(
    ('config', 'name'),
    [
        (
            'metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py',
            'metaspikformer-digits-sfa-t1d4.pth',
        ),
        (
            'mask-rcnn_metaspikformer-digits-sfa-t1d4_fpn_1xb4-4e_digit-scenes.py',
            'mask-rcnn_metaspikformer-digits-sfa-t1d4_fpn.pth',
        ),
        (
            'sdt-1-64-lif-t8_1xb32-tet-coslr-15e_event-digits.py',
            'sdt-1-64-lif-t8.pth',
        ),
    ],
)
def test_names_of_weights(parts, config, name):
    assert parts('weights').weights_name(Path('configs', config)) == name


def test_weights_replace_those_of_the_demo_but_nobody_elses(parts, tmp_path):
    leave = parts('weights').leave_weights
    checkpoint, folder, config = tmp_path / 'epoch_1.pth', tmp_path / 'left', Path('net_1xb2_x.py')
    for content in ('first', 'second', 'second'):
        checkpoint.write_text(content)
        assert leave(checkpoint, config, folder) == folder / 'net.pth'
        assert (folder / 'net.pth').read_text() == content
    (folder / 'net.pth').write_text('of somebody else')
    assert leave(checkpoint, config, folder) is None
    assert (folder / 'net.pth').read_text() == 'of somebody else'
