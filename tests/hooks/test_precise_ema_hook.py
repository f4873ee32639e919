"""Averaged models with statistics of their own, in runs of mmengine's Runner."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import TensorDataset

from mmspike.hooks import PreciseEMAHook
from mmspike.neurons import LIF

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.arange(32) % 2
# Far from 0, so that a change of the weights moves what the norm sees.
IMAGES = 20 + torch.randn(32, 4, generator=GENERATOR) + 3 * LABELS[:, None]
BATCH = 8
NORMS = ('norm.running_mean', 'norm.running_var')


class Toy(BaseModel):
    """A layer, its norm, a neuron, a classifier; notes the norm that each prediction sees."""

    def __init__(self, norm_eval=False):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        # Ran by no one, as a head without regions.
        self.idle = nn.BatchNorm1d(8, affine=False)
        self.neuron = LIF()
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(8, 2)
        self.norm_eval = norm_eval
        self.seen = []

    def train(self, mode=True):
        super().train(mode)
        if self.norm_eval:
            self.norm.eval()
        return self

    def forward(self, inputs, labels, mode='tensor'):
        if mode == 'predict':
            self.seen.append({key: self.state_dict()[key].clone() for key in NORMS})
        scores = self.fc(self.drop(self.neuron(3 * self.norm(self.stem(inputs)))))
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(scores, labels))
        return [(scores, labels)]


class Accuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        ((scores, labels),) = data_samples
        self.results += (scores.argmax(1) == labels).tolist()

    def compute_metrics(self, results):
        return dict(accuracy=sum(results) / len(results))


def collate(samples):
    images, labels = map(torch.stack, zip(*samples, strict=True))
    return dict(inputs=images, labels=labels)


def runner_of(work_dir, hook='mmspike.PreciseEMAHook', *, model=None, batch=BATCH, **options):
    hook_options = dict(dict(momentum=0.1), **options.pop('hook_options', {}))
    if hook == 'mmspike.PreciseEMAHook':
        hook_options.setdefault('num_samples', len(IMAGES))
    loader = dict(
        dataset=TensorDataset(IMAGES, LABELS), batch_size=batch, collate_fn=collate,
        sampler=dict(type='DefaultSampler', shuffle=True),
    )  # fmt: skip
    if not options.get('train_cfg', {}).get('by_epoch', True):
        loader['sampler'] = dict(type='InfiniteSampler', shuffle=True)
    once = dict(loader, batch_size=len(IMAGES), sampler=dict(type='DefaultSampler', shuffle=False))
    return Runner(
        model or Toy(), str(work_dir),
        train_dataloader=loader, val_dataloader=once, test_dataloader=once,
        val_evaluator=[Accuracy()], test_evaluator=[Accuracy()], val_cfg={}, test_cfg={},
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.1)),
        train_cfg=options.pop('train_cfg', dict(by_epoch=True, max_epochs=3)),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1, save_best='accuracy', rule='greater',
                by_epoch=options.pop('save_by_epoch', True),
            )
        ),
        custom_hooks=[
            dict(type='mmspike.ProgressSeedHook'), dict(hook_options, type=hook)
        ],
        randomness=dict(seed=5), default_scope='mmengine',
        experiment_name=f'{work_dir.name}-{torch.rand(()).item()}',
        **options,
    )  # fmt: skip


def hook_of(runner):
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    return hook


def measured(state, batches=(IMAGES,)):
    """Statistics of the layer's output under the weights of a state: the mean over batches."""
    outs = [batch @ state['stem.weight'].T + state['stem.bias'] for batch in batches]
    return (
        torch.stack([out.mean(0) for out in outs]).mean(0),
        torch.stack([out.var(0) for out in outs]).mean(0),
    )


def check_norms(values, state, **tolerances):
    for key, expected in zip(NORMS, measured(state), strict=True):
        torch.testing.assert_close(values[key], expected, rtol=1e-4, atol=1e-5, **tolerances)


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('update_buffers', [False, True])
def test_validation_and_checkpoints_hold_measured_statistics(tmp_path, by_epoch, update_buffers):
    train_cfg = dict(by_epoch=True, max_epochs=3)
    if not by_epoch:
        train_cfg = dict(by_epoch=False, max_iters=6, val_interval=2)
    runner = runner_of(
        tmp_path, train_cfg=train_cfg, batch=len(IMAGES), save_by_epoch=by_epoch,
        hook_options=dict(update_buffers=update_buffers),
    )  # fmt: skip
    runner.train()
    names = [f'epoch_{i}' for i in (1, 2, 3)] if by_epoch else [f'iter_{i}' for i in (2, 4, 6)]
    assert len(runner.model.seen) == 3
    for seen, name in zip(runner.model.seen, names, strict=True):
        state = torch.load(tmp_path / f'{name}.pth', weights_only=False)['state_dict']
        check_norms(seen, state)
        check_norms(state, state)
        assert state['idle.running_mean'].abs().sum() == 0
    (best,) = tmp_path.glob('best_*.pth')
    state = torch.load(best, weights_only=False)['state_dict']
    check_norms(state, state)


def test_batches_count_alike(tmp_path):
    runner = runner_of(tmp_path, hook_options=dict(num_samples=20))
    runner.train()
    order = torch.randperm(32, generator=torch.Generator().manual_seed(runner.seed))[:16]
    state = hook_of(runner).ema_model.module.state_dict()
    expected = measured(state, [IMAGES[order[:8]], IMAGES[order[8:]]])  # 20 hold two batches of 8
    for key, value in zip(NORMS, expected, strict=True):
        torch.testing.assert_close(runner.model.seen[-1][key], value)


@pytest.mark.parametrize('update_buffers', [False, True])
def test_training_and_averages_are_those_of_the_plain_hook(tmp_path, update_buffers):
    plain, precise = (
        runner_of(tmp_path / name, name, hook_options=dict(update_buffers=update_buffers))
        for name in ('EMAHook', 'mmspike.PreciseEMAHook')
    )
    plain.train()
    precise.train()
    same(plain.model.state_dict(), precise.model.state_dict())
    same(hook_of(plain).ema_model.state_dict(), hook_of(precise).ema_model.state_dict())
    # What the plain one evaluates with: the statistics of other weights.
    state = hook_of(plain).ema_model.module.state_dict()
    assert (plain.model.seen[0][NORMS[0]] - measured(state)[0]).abs().max() > 0.1


def test_early_in_training_the_averaged_model_answers(tmp_path):
    accuracies = {}
    for name in ('EMAHook', 'mmspike.PreciseEMAHook'):
        runner = runner_of(
            tmp_path / name, name, hook_options=dict(momentum=0.005),
            train_cfg=dict(by_epoch=True, max_epochs=2),
        )  # fmt: skip
        runner.train()
        accuracies[name] = runner.message_hub.get_scalar('val/accuracy').current()
    assert accuracies['mmspike.PreciseEMAHook'] > 0.8
    assert accuracies['EMAHook'] < 0.7


@pytest.mark.parametrize('update_buffers', [False, True])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, update_buffers):
    options = dict(hook_options=dict(update_buffers=update_buffers, interval=3))
    whole = runner_of(tmp_path / 'whole', **options)
    whole.train()
    resumed = runner_of(
        tmp_path / 'resumed', resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth'), **options
    )
    resumed.train()
    same(resumed.model.state_dict(), whole.model.state_dict())
    same(hook_of(resumed).ema_model.state_dict(), hook_of(whole).ema_model.state_dict())
    for own, expected in zip(resumed.model.seen, whole.model.seen[1:], strict=True):
        same(own, expected)


def test_a_test_uses_the_statistics_in_the_file(tmp_path):
    runner_of(tmp_path).train()
    tested = runner_of(tmp_path / 'test', load_from=str(tmp_path / 'epoch_3.pth'))
    tested.test()
    state = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)['state_dict']
    same(tested.model.seen[0], {key: state[key] for key in NORMS})


def test_norms_that_training_leaves_alone_keep_their_statistics(tmp_path):
    runner = runner_of(tmp_path, model=Toy(norm_eval=True))
    runner.train()
    for seen in runner.model.seen:
        assert torch.equal(seen[NORMS[0]], torch.zeros(8))
        assert torch.equal(seen[NORMS[1]], torch.ones(8))


def measure_rank(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    try:
        runner = runner_of(folder / 'work', model=MMDistributedDataParallel(Toy()), batch=16)
        runner.train()
        state = hook_of(runner).ema_model.module.state_dict()
        torch.save(dict(seen=runner.model.module.seen[-1], state=state), folder / f'{rank}.pth')
    finally:
        torch.distributed.destroy_process_group()


def test_processes_measure_together(tmp_path):
    context = torch.multiprocessing.get_context('fork')
    processes = [context.Process(target=measure_rank, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=False) for rank in (0, 1))
    same(first['seen'], second['seen'])
    # Each process saw one half of the images: 16, in one batch.
    order = torch.randperm(32, generator=torch.Generator().manual_seed(5))
    halves = [IMAGES[order[rank::2]] for rank in (0, 1)]
    for key, value in zip(NORMS, measured(first['state'], halves), strict=True):
        torch.testing.assert_close(first['seen'][key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('value', 'error'), [(0, ValueError), (1.5, TypeError)])
def test_a_bad_number_of_samples(value, error):
    with pytest.raises(error, match='num_samples must be'):
        PreciseEMAHook(num_samples=value)
