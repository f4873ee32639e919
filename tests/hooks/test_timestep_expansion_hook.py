"""T, D and execution per phase, in runs of mmengine's Runner."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import TensorDataset

from mmspike import get_timesteps
from mmspike.execution import SpikeTrain, get_execution
from mmspike.files import read_training_checkpoint
from mmspike.hooks import TimestepExpansionHook
from mmspike.neurons import LIF, SFA, NeuronMismatchError
from mmspike.neurons.records import find_record
from mmspike.temporal import TemporalModule, unfold_time

INPUTS = torch.tensor([[3.0, -1.0], [-2.0, 8.0], [5.0, 5.0], [-4.0, -6.0]])


class Toy(TemporalModule, BaseModel):
    """Notes in which mode, for which T and D, and in which execution it ran."""

    def __init__(self, neuron=None, fail_at=()):
        super().__init__()
        self.stem = nn.Linear(2, 3)
        self.neuron = neuron or SFA(D=4)
        self.fc = nn.Linear(3, 1)
        self.ran = []
        self.fail_at = set(fail_at)

    def forward(self, x, mode='tensor'):
        if len(self.ran) in self.fail_at:
            self.fail_at.remove(len(self.ran))
            raise KeyboardInterrupt
        spikes = self.neuron(self.stem(x).repeat(self.timesteps, 1))
        execution = 'spike' if isinstance(spikes, SpikeTrain) else 'integer'
        self.ran.append((mode, self.timesteps, getattr(self.neuron, 'D', None), execution))
        out = unfold_time(self.fc(spikes), self.timesteps).mean(0)
        return dict(loss=out.square().mean()) if mode == 'loss' else [out]


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=1.0)


def runner_of(work_dir, model=None, hook=None, hooks=(), train_cfg=None, **options):
    """Two iterations to an epoch, one to a validation or test."""
    loader = dict(
        dataset=TensorDataset(INPUTS),
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    once = dict(loader, batch_size=4)
    return Runner(
        model or Toy(),
        str(work_dir),
        train_dataloader=loader, val_dataloader=once, test_dataloader=once,
        val_evaluator=[Score()], test_evaluator=[Score()],
        val_cfg=dict(fp16=options.pop('fp16', False)), test_cfg=dict(),
        optim_wrapper=options.pop('optim_wrapper', dict(optimizer=dict(type='SGD', lr=0.1))),
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=3),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='score', rule='greater')
        ),
        custom_hooks=[
            dict(type='mmspike.TimestepExpansionHook', **hook), *hooks
        ] if hook else list(hooks),
        default_scope='mmengine',
        experiment_name=f'{work_dir.name}-{torch.rand(()).item()}',
        **options,
    )  # fmt: skip


def ran(runner, mode, what=slice(1, 4)):
    model = runner.model
    return [entry[what] for entry in getattr(model, 'module', model).ran if entry[0] == mode]


def recorded(path):
    record = find_record(read_training_checkpoint(path)['state_dict'], 'neuron')
    return {key: record['neuron'][key] for key in ('D', 'norm')}


def state_of(model):
    return get_timesteps(model), model.neuron.D, model.neuron.norm, get_execution(model)


def test_phases(tmp_path):
    runner = runner_of(
        tmp_path,
        hook=dict(
            T=dict(train=1, val=2, test=4), D=dict(val=8, test=16),
            execution=dict(val='spike', test='spike'),
        ),
    )  # fmt: skip
    runner.train()
    assert ran(runner, 'loss') == [(1, 4, 'integer')] * 6
    assert ran(runner, 'predict') == [(2, 8, 'spike')] * 3
    assert state_of(runner.model) == (1, 4, 4.0, 'integer')
    runner.test()
    assert ran(runner, 'predict')[3:] == [(4, 16, 'spike')]
    assert state_of(runner.model) == (1, 4, 4.0, 'integer')
    runner.val()
    assert ran(runner, 'predict')[4:] == [(2, 8, 'spike')]


def test_a_phase_that_is_not_named_runs_as_the_model_is(tmp_path):
    runner = runner_of(tmp_path, hook=dict(T=dict(train=[(0, 1), (2, 3)])))
    runner.train()
    assert ran(runner, 'loss', 1) == [1, 1, 1, 1, 3, 3]
    assert ran(runner, 'predict', 1) == [1, 1, 3]
    runner.test()
    assert ran(runner, 'predict', 1)[3:] == [3]


def test_schedules_by_epoch(tmp_path):
    runner = runner_of(
        tmp_path,
        hook=dict(
            T=dict(train=[(0, 1), (1, 2)], val=[(0, 3), (2, 4)]), D=dict(train=[[0, 2], [2, 4]]),
        ),
    )  # fmt: skip
    runner.train()
    assert ran(runner, 'loss', slice(1, 3)) == [(1, 2), (1, 2), (2, 2), (2, 2), (2, 4), (2, 4)]
    # A validation belongs to the epoch before it.
    assert ran(runner, 'predict', slice(1, 3)) == [(3, 2), (3, 2), (4, 4)]
    # Outside of training it comes after all.
    runner.val()
    assert ran(runner, 'predict', 1)[3:] == [4]
    assert runner.model.neuron.norm == 4


@pytest.mark.slow
@pytest.mark.parametrize('train_cfg', [
    dict(by_epoch=True, max_epochs=2),
    dict(by_epoch=False, max_iters=4, val_interval=2),
], ids=['epochs', 'iterations'])  # fmt: skip
def test_schedules_by_iteration(tmp_path, train_cfg):
    hook = dict(
        T=dict(train=[(0, 1), (3, 2)], val=[(0, 3), (2, 5)]), D=dict(train=[(0, 4), (1, 6)]),
        by_epoch=False,
    )  # fmt: skip
    runner = runner_of(tmp_path, hook=hook, train_cfg=train_cfg)
    runner.train()
    assert ran(runner, 'loss', slice(1, 3)) == [(1, 4), (1, 6), (1, 6), (2, 6)]
    assert ran(runner, 'predict', 1) == [3, 5]


def test_the_divisor_follows_where_asked(tmp_path):
    runner = runner_of(tmp_path, hook=dict(D=dict(train=8, test=2), scale_norm=True))
    runner.train()
    assert state_of(runner.model)[1:3] == (8, 8)
    runner.test()
    assert state_of(runner.model)[1:3] == (8, 8)


# --- Checkpoints --------------------------------------------------------------------------------


@HOOKS.register_module()
class SavingInValidation(Hook):
    """Writes a checkpoint while the values of validation hold."""

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.save_checkpoint(runner.work_dir, f'within_{runner.epoch}.pth')


def test_checkpoints_record_the_D_of_training(tmp_path):
    runner = runner_of(
        tmp_path,
        hook=dict(D=dict(train=[(0, 2), (1, 3)], val=7), execution=dict(val='spike')),
        hooks=[dict(type='SavingInValidation')],
    )
    runner.train()
    assert ran(runner, 'predict') == [(1, 7, 'spike')] * 3
    found = {path.name: recorded(path)['D'] for path in tmp_path.glob('*.pth')}
    assert found == {
        'epoch_1.pth': 2, 'within_1.pth': 2, 'best_score_epoch_1.pth': 2,
        'epoch_2.pth': 3, 'within_2.pth': 3, 'epoch_3.pth': 3, 'within_3.pth': 3,
    }  # fmt: skip
    assert recorded(tmp_path / 'within_3.pth')['norm'] == 4


def weights_of(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


@pytest.mark.parametrize('hooks', [(), (dict(type='EMAHook'),)], ids=['plain', 'ema'])
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_a_resumed_run_goes_on_with_the_values_of_its_progress(tmp_path, hooks, by_epoch):
    unit = 1 if by_epoch else 2
    hook = dict(
        T=dict(train=[(0, 1), (2 * unit, 2)], val=3), D=dict(train=[(0, 2), (unit, 3)], val=8),
        execution=dict(val='spike'), by_epoch=by_epoch,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Toy()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    whole = runner_of(tmp_path / 'whole', model, hook, hooks)
    whole.train()
    for epoch in (1, 2):
        model = Toy()
        model.load_state_dict(weights)
        resumed = runner_of(
            tmp_path / f'from_{epoch}', model, hook, hooks, resume=True,
            load_from=str(tmp_path / f'whole/epoch_{epoch}.pth'),
        )  # fmt: skip
        resumed.train()
        assert ran(resumed, 'loss') == ran(whole, 'loss')[2 * epoch :]
        assert ran(resumed, 'predict') == ran(whole, 'predict')[epoch:]
        assert torch.equal(weights_of(resumed), weights_of(whole))


def test_neurons_take_the_D_on_record_if_training_uses_it(tmp_path):
    hook = dict(D=dict(train=[(0, 2), (2, 4)]))
    runner_of(tmp_path, hook=hook).train()
    for epoch, D in ((1, 2), (3, 4)):
        path = str(tmp_path / f'epoch_{epoch}.pth')
        runner = runner_of(tmp_path / 'test', hook=hook, load_from=path)
        runner.test()
        assert ran(runner, 'predict', 2) == [D]
    with pytest.raises(NeuronMismatchError):
        runner_of(
            tmp_path / 'other', hook=dict(D=dict(train=8)),
            load_from=str(tmp_path / 'epoch_1.pth'),
        ).test()  # fmt: skip


def test_averaged_weights_are_validated_on_spikes(tmp_path):
    hook = dict(T=dict(val=2), D=dict(train=3, val=6), execution=dict(val='spike', test='spike'))
    runner = runner_of(tmp_path, hook=hook, hooks=[dict(type='EMAHook', momentum=0.5)])
    runner.train()
    (ema,) = (one for one in runner.hooks if isinstance(one, EMAHook))
    assert ran(runner, 'predict') == [(2, 6, 'spike')] * 3
    assert (ema.ema_model.module.neuron.D, get_execution(ema.ema_model.module)) == (3, 'integer')
    assert not torch.equal(ema.ema_model.module.fc.weight, runner.model.fc.weight)
    # A second run copies the model anew.
    runner.test()
    assert ran(runner, 'predict')[3:] == [(1, 3, 'spike')]


# --- Wrappers, interruptions --------------------------------------------------------------------


def test_mixed_precision(tmp_path, monkeypatch):
    # mmengine refuses its wrapper where there is no GPU, though its autocast works there.
    wrapper = 'mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available'
    monkeypatch.setattr(wrapper, lambda: True)
    runner = runner_of(
        tmp_path, hook=dict(T=dict(val=2), D=dict(val=6), execution=dict(val='spike')), fp16=True,
        optim_wrapper=dict(
            type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=0.1)
        ),
    )  # fmt: skip
    runner.train()
    assert ran(runner, 'predict') == [(2, 6, 'spike')] * 3
    assert state_of(runner.model) == (1, 4, 4, 'integer')


def test_distributed_wrapper(tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        hook = dict(
            T=dict(train=2), D=dict(train=3, val=5), execution=dict(val='spike', test='spike')
        )
        hooks = [dict(type='SavingInValidation')]
        runner = runner_of(tmp_path, MMDistributedDataParallel(Toy()), hook, hooks)
        runner.train()
        runner.test()
    finally:
        torch.distributed.destroy_process_group()
    assert ran(runner, 'loss') == [(2, 3, 'integer')] * 6
    assert ran(runner, 'predict') == [(2, 5, 'spike')] * 3 + [(2, 3, 'spike')]
    assert recorded(tmp_path / 'within_2.pth')['D'] == 3


def test_after_an_interruption_the_next_phase_puts_the_model_back(tmp_path):
    model = Toy(fail_at=[2])  # the first validation
    hook = dict(T=dict(val=2), D=dict(val=8), execution=dict(val='ternary'))
    runner = runner_of(tmp_path, model, hook)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert state_of(model) == (2, 8, 4, 'ternary')
    runner.test()
    assert model.ran[2:] == [('predict', 1, 4, 'integer')]
    assert state_of(model) == (1, 4, 4, 'integer')


# --- Misuse -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({}, ValueError, 'nothing to do'),
        (dict(T=4), TypeError, 'T must be a dict from phases'),
        (dict(T=dict(validation=4)), ValueError, r"knows the phases .*got \['validation'\]"),
        (dict(T=dict(val=0)), ValueError, 'timesteps must be at least 1'),
        (dict(T=dict(val=1.5)), TypeError, 'timesteps must be an int'),
        (dict(D=dict(val='4')), TypeError, 'D must be an int'),
        (dict(D=dict(train=[(0, 1), (5, 0)])), ValueError, 'D must be .*at least 1'),
        (dict(T=dict(train=[])), ValueError, 'list of pairs'),
        (dict(T=dict(train=[1, 2])), ValueError, 'list of pairs'),
        (dict(T=dict(train=[(1, 2)])), ValueError, 'must begin at 0'),
        (dict(T=dict(train=[(0, 2), (5, 1), (5, 2)])), ValueError, 'go up'),
        (dict(T=dict(train=[(0, 2), (1.5, 1)])), ValueError, 'whole numbers'),
        (dict(T=dict(test=[(0, 2), (3, 4)])), ValueError, 'belongs to no epoch'),
        (dict(execution=dict(val='binary')), ValueError, "execution must be .*got 'binary'"),
        (dict(execution=dict(train='spike')), ValueError, 'training is always on integers'),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        TimestepExpansionHook(**options)


@pytest.mark.parametrize(
    ('neuron', 'message'),
    [(LIF(), 'has no integer neurons'), (SFA(D=4, eval_D=1), 'have eval_D')],
)
def test_neurons_whose_D_cannot_be_set(tmp_path, neuron, message):
    runner = runner_of(tmp_path, Toy(neuron), dict(D=dict(test=2)))
    with pytest.raises(ValueError, match=message):
        runner.test()


def test_epochs_where_there_are_none(tmp_path):
    runner = runner_of(
        tmp_path, hook=dict(T=dict(train=[(0, 1), (1, 2)])),
        train_cfg=dict(by_epoch=False, max_iters=2),
    )  # fmt: skip
    with pytest.raises(ValueError, match='need by_epoch=False'):
        runner.train()
