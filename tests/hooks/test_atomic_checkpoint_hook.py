import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import TensorDataset

from mmspike.folder_lock import FolderInUseError, FolderLock
from mmspike.hooks import AtomicCheckpointHook, NotFiniteError


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 1)

    def forward(self, x, mode='tensor'):
        loss = self.fc(x).square().mean()
        return dict(loss=loss) if mode == 'loss' else [loss.item()]


class Rising(BaseMetric):
    """A metric that is better every time."""

    calls = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        Rising.calls += 1
        return dict(score=Rising.calls)


def make_runner(work_dir, **hook):
    loader = dict(
        dataset=TensorDataset(torch.rand(8, 2)),
        batch_size=4,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    return Runner(
        Toy(),
        str(work_dir),
        train_dataloader=loader,
        val_dataloader=dict(loader),
        val_evaluator=[Rising()],
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        default_hooks=dict(
            checkpoint=dict(type='mmspike.AtomicCheckpointHook', interval=1, **hook)
        ),
        default_scope='mmengine',
        experiment_name=work_dir.name,
    )


def train(work_dir, **hook):
    make_runner(work_dir, **hook).train()


def test_keeps_the_newest_and_leaves_nothing_else(tmp_path):
    train(tmp_path, max_keep_ckpts=2)
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
    assert not list(tmp_path.glob('.*partial'))
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_3.pth')


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    train(tmp_path)
    old = (tmp_path / 'epoch_1.pth').read_bytes()

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr('os.fsync', interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    assert (tmp_path / 'epoch_1.pth').read_bytes() == old
    assert not list(tmp_path.glob('.*partial'))


def test_one_kept_file_would_be_none_for_a_while():
    with pytest.raises(ValueError, match='max_keep_ckpts=1'):
        AtomicCheckpointHook(max_keep_ckpts=1)


def test_best_checkpoint_is_there_at_any_time(tmp_path, monkeypatch):
    """The old best file goes only after the new one is complete."""
    seen = []
    save = Runner.save_checkpoint

    def watched(runner, out_dir, filename, *rest, **options):
        if filename.startswith('best'):
            seen.append(sorted(p.name for p in tmp_path.glob('best*')))
        save(runner, out_dir, filename, *rest, **options)

    monkeypatch.setattr(Runner, 'save_checkpoint', watched)
    train(tmp_path, save_best='score', rule='greater')
    assert len(seen) >= 3
    assert seen[0] == []
    assert all(seen[1:])
    assert [p.name for p in tmp_path.glob('best*')] == ['best_score_epoch_3.pth']


def test_remains_of_a_killed_run_are_cleared_away(tmp_path):
    (tmp_path / '.epoch_7.pth.123.partial').touch()
    train(tmp_path)
    assert not list(tmp_path.glob('.*partial'))


def test_validation_without_training_saves_nothing(tmp_path):
    assert make_runner(tmp_path, save_best='score', rule='greater').val()['score'] > 0
    assert not list(tmp_path.glob('*.pth'))


class Spoil(Hook):
    """Makes a weight NaN in an epoch, as a step with a NaN gradient does."""

    def __init__(self, epoch):
        self.epoch = epoch

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.epoch == self.epoch:
            runner.model.fc.weight.data[0, 0] = float('nan')


@pytest.mark.parametrize('best', [dict(), dict(save_best='score', rule='greater')])
def test_nan_is_not_saved_and_pushes_nothing_out(tmp_path, best):
    runner = make_runner(tmp_path, max_keep_ckpts=2, **best)
    runner.register_hook(Spoil(epoch=2))
    with pytest.raises(NotFiniteError, match=r'fc\.weight.* not saved.*/epoch_2\.pth'):
        runner.train()
    kept = sorted(tmp_path.glob('*epoch*.pth'))
    assert [p.name for p in tmp_path.glob('epoch*')] == ['epoch_1.pth', 'epoch_2.pth']
    for path in kept:
        weights = torch.load(path, weights_only=False)['state_dict']
        assert all(value.isfinite().all() for value in weights.values())
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_2.pth')


def test_nan_of_an_averaged_copy_is_not_saved(tmp_path):
    runner = make_runner(tmp_path)
    runner.register_hook(dict(type='EMAHook'))

    class SpoilCopy(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            ema = next(hook for hook in runner.hooks if hasattr(hook, 'ema_model'))
            ema.ema_model.module.fc.bias.data.fill_(float('inf'))

    runner.register_hook(SpoilCopy())
    with pytest.raises(NotFiniteError, match=r'fc\.bias'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


def test_a_folder_takes_one_training_at_a_time(tmp_path, monkeypatch):
    def taken(folder):
        raise FolderInUseError(f'another training writes into {folder}')

    with monkeypatch.context() as patch:
        patch.setattr('mmspike.hooks.atomic_checkpoint_hook.FolderLock', taken)
        with pytest.raises(FolderInUseError, match=str(tmp_path)):
            train(tmp_path)
    assert not list(tmp_path.glob('*.pth'))
    runner = make_runner(tmp_path)
    runner.train()
    FolderLock(tmp_path).release()
