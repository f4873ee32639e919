"""Schedules in real runs: resuming, records in checkpoints, averaged weights, several processes."""

import warnings

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn
from torch.utils.data import TensorDataset

from mmspike.files import read_training_checkpoint
from mmspike.hooks import RSMScheduleHook
from mmspike.masking import get_masking, set_masking
from mmspike.neurons import LIF, SFA
from mmspike.neurons.records import find_record

INPUTS = 4 * torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
SEED = dict(type='mmspike.ProgressSeedHook')


class Toy(BaseModel):
    """Two layers of neurons; notes their ratios, and what it answered."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 32), SFA(D=4), nn.Linear(32, 32), SFA(D=4))
        self.fc = nn.Linear(32, 1)
        with torch.no_grad():
            self.net[2].weight.mul_(8)  # so that the second layer fires
        self.ran = []

    def forward(self, x, mode='tensor'):
        out = self.fc(self.net(x))
        self.ran.append((mode, self.ratios(), out.detach().clone()))
        return dict(loss=(out - 1).square().mean()) if mode == 'loss' else [out]

    def ratios(self):
        return self.net[1].masking_ratio, self.net[3].masking_ratio


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=1.0)


def runner_of(work_dir, hook=None, hooks=(SEED,), train_cfg=None, model=None, **options):
    """Two iterations to an epoch, one to a validation or test."""
    loader = dict(
        dataset=TensorDataset(INPUTS),
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    once = dict(loader, batch_size=4, sampler=dict(type='DefaultSampler', shuffle=False))
    own = [dict(type='mmspike.RSMScheduleHook', **hook)] if hook else []
    return Runner(
        model or Toy(),
        str(work_dir),
        train_dataloader=loader, val_dataloader=once, test_dataloader=once,
        val_evaluator=[Score()], test_evaluator=[Score()], val_cfg=dict(), test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05)),
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=4),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='score', rule='greater'),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[*hooks, *own],
        randomness=dict(seed=5),
        default_scope='mmengine',
        experiment_name=f'{work_dir.name}-{id(work_dir)}',
        **options,
    )  # fmt: skip


def ran(runner, mode, what=1):
    model = getattr(runner.model, 'module', runner.model)
    return [entry[what] for entry in model.ran if entry[0] == mode]


def weights_of(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


def recorded(path):
    state_dict = read_training_checkpoint(path)['state_dict']
    return tuple(
        find_record(state_dict, name).get('masking_ratio', 0.0) for name in ('net.1', 'net.3')
    )


GROWING = dict(ratios={'net.1': dict(type='linear', stop=0.6, end=3), 'net.3': 0.5})


def approx(pairs):
    return [pytest.approx(pair) for pair in pairs]


def test_by_epoch(tmp_path):
    runner = runner_of(tmp_path, GROWING)
    runner.train()
    expected = [(0, 0.5), (0.2, 0.5), (0.4, 0.5), (0.6, 0.5)]
    assert ran(runner, 'loss') == approx(pair for pair in expected for _ in range(2))
    # Validation masks as its epoch did, and so does whatever follows.
    assert ran(runner, 'predict') == approx(expected)
    assert runner.model.ratios() == pytest.approx((0.6, 0.5))
    assert [recorded(tmp_path / f'epoch_{i}.pth') for i in (1, 2, 3, 4)] == approx(expected)
    assert runner.message_hub.get_scalar('train/masking/net.1').current() == pytest.approx(0.6)


@pytest.mark.slow
@pytest.mark.parametrize('train_cfg', [
    dict(by_epoch=True, max_epochs=2),
    dict(by_epoch=False, max_iters=4, val_interval=2),
], ids=['epochs', 'iterations'])  # fmt: skip
def test_by_iteration(tmp_path, train_cfg):
    ratios = {'all': dict(type='step', ratios=[0.0, 0.25, 0.5], milestones=[1, 3])}
    runner = runner_of(tmp_path, dict(ratios=ratios, by_epoch=False), train_cfg=train_cfg)
    runner.train()
    assert [one for one, _ in ran(runner, 'loss')] == [0, 0.25, 0.25, 0.5]


def test_the_last_key_counts(tmp_path):
    runner = runner_of(tmp_path, dict(ratios={'all': [0.25, 0.75], 'net.3': 0.5}))
    runner.train()
    assert runner.model.ratios() == (0.25, 0.5)
    # The log has what came of the entries.
    logged = runner.message_hub.get_scalar('train/masking/all').current()
    assert logged == pytest.approx((0.25 + 0.5) / 2)


def test_ratios_set_by_hand_give_way_in_training_only(tmp_path):
    runner_of(tmp_path / 'first', GROWING).train()
    path = str(tmp_path / 'first/epoch_2.pth')
    model = Toy()
    set_masking(model, {'all': 0.1})
    tested = runner_of(tmp_path / 'tested', GROWING, model=model, load_from=path)
    with pytest.warns(UserWarning, match=r'was set to 0\.1 and keeps it'):
        tested.test()
    assert model.ratios() == (0.1, 0.1)
    trained = runner_of(tmp_path / 'trained', GROWING, model=model, load_from=path)
    with warnings.catch_warnings():
        warnings.filterwarnings('error', '.*masking')
        trained.train()
        assert model.ratios() == pytest.approx((0.6, 0.5))
        # What training left was not chosen: another checkpoint's ratios take its place.
        load_checkpoint(model, path)
    assert model.ratios() == pytest.approx((0.2, 0.5))


EMA = dict(type='EMAHook', momentum=0.5)


@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('hooks', [(SEED,), (SEED, EMA)], ids=['plain', 'ema'])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, hooks, by_epoch):
    unit = 1 if by_epoch else 2
    ratios = {'net.1': dict(type='cosine', stop=0.6, end=3 * unit), 'net.3': [0.3]}
    hook = dict(ratios=ratios, by_epoch=by_epoch)
    whole = runner_of(tmp_path / 'whole', hook, hooks)
    whole.train()
    for epoch in (1, 3):
        resumed = runner_of(
            tmp_path / f'from_{epoch}', hook, hooks, resume=True,
            load_from=str(tmp_path / f'whole/epoch_{epoch}.pth'),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.filterwarnings('error', '.*masking')
            resumed.train()
        for mode, per_epoch in (('loss', 2), ('predict', 1)):
            assert ran(resumed, mode) == ran(whole, mode)[per_epoch * epoch :]
            for own, theirs in zip(
                ran(resumed, mode, 2), ran(whole, mode, 2)[per_epoch * epoch :], strict=True
            ):
                assert torch.equal(own, theirs)
        assert torch.equal(weights_of(resumed), weights_of(whole))


def test_without_masks_training_is_what_it_was(tmp_path):
    plain, zero = (
        runner_of(tmp_path / name, hook)
        for name, hook in (('plain', None), ('zero', dict(ratios={'all': 0.0})))
    )
    plain.train()
    zero.train()
    assert torch.equal(weights_of(plain), weights_of(zero))
    masked = runner_of(tmp_path / 'masked', dict(ratios={'all': 0.5}))
    masked.train()
    assert not torch.equal(weights_of(plain), weights_of(masked))


# --- Evaluation ---------------------------------------------------------------------------------


def test_a_checkpoint_is_evaluated_at_the_ratio_of_its_training(tmp_path):
    runner_of(tmp_path, GROWING).train()
    for epoch, ratios in ((2, (0.2, 0.5)), (4, (0.6, 0.5))):
        path = str(tmp_path / f'epoch_{epoch}.pth')
        # tools/test.py, and what inferencers and init_model do.
        tested = runner_of(tmp_path / 'test', GROWING, load_from=path)
        with warnings.catch_warnings():
            warnings.filterwarnings('error', '.*masking')
            tested.test()
        assert ran(tested, 'predict') == approx([ratios])
        model = Toy()
        load_checkpoint(model, path)
        assert model.ratios() == pytest.approx(ratios)
    # Where a ratio was set by hand, it holds, and a warning says so.
    model = Toy()
    set_masking(model, {'all': 0.1})
    with pytest.warns(UserWarning, match=r'ratio 0\.6, .* set to 0\.1'):
        load_checkpoint(model, path)
    assert model.ratios() == (0.1, 0.1)


def test_evaluations_repeat(tmp_path):
    runner_of(tmp_path, dict(ratios={'all': 0.5})).train()
    path = str(tmp_path / 'epoch_4.pth')
    answers = []
    plain = Toy()
    load_checkpoint(plain, path)
    for seed in (0, 1):
        torch.manual_seed(seed)
        answers += plain.test_step([INPUTS])
    assert not torch.equal(*answers)  # there is something to repeat

    answers = []
    for name in ('a', 'b'):
        tested = runner_of(tmp_path / name, load_from=path)
        tested.test()
        torch.rand(3)
        tested.test()
        answers += ran(tested, 'predict', 2)
    assert len(answers) == 4
    for one in answers:
        assert torch.equal(one, answers[0])
    # The same masks as in the validation of its epoch.
    trained = runner_of(tmp_path / 'again', dict(ratios={'all': 0.5}))
    trained.train()
    assert torch.equal(ran(trained, 'predict', 2)[-1], answers[0])


def test_averaged_weights_carry_the_ratios(tmp_path):
    runner = runner_of(tmp_path, GROWING, (SEED, EMA))
    runner.train()
    (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    assert list(get_masking(ema.ema_model.module).values()) == pytest.approx([0.6, 0.5])
    saved = read_training_checkpoint(tmp_path / 'epoch_3.pth')['ema_state_dict']
    assert find_record(saved, 'module.net.1')['masking_ratio'] == pytest.approx(0.4)
    assert recorded(tmp_path / 'epoch_3.pth') == pytest.approx((0.4, 0.5))
    assert ran(runner, 'predict') == approx([(0, 0.5), (0.2, 0.5), (0.4, 0.5), (0.6, 0.5)])


# --- Several processes --------------------------------------------------------------------------


class SameImages(Toy):
    """Both ranks see the same images, so that only their masks tell them apart."""

    def forward(self, x, mode='tensor'):
        return super().forward(INPUTS[: len(x)], mode)


def train_rank(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    try:
        runner = runner_of(
            folder / 'work', dict(ratios={'all': 0.5}),
            model=MMDistributedDataParallel(SameImages()),
            train_cfg=dict(by_epoch=True, max_epochs=2),
        )  # fmt: skip
        runner.train()
        noted = dict(answers=ran(runner, 'loss', 2), weights=weights_of(runner))
        torch.save(noted, folder / f'rank_{rank}.pth')
    finally:
        torch.distributed.destroy_process_group()


def run_two(folder):
    """Train in two processes; return what each of them noted."""
    folder.mkdir()
    context = torch.multiprocessing.get_context('fork')
    processes = [context.Process(target=train_rank, args=(rank, folder)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return [torch.load(folder / f'rank_{rank}.pth') for rank in (0, 1)]


def test_two_processes_mask_apart_and_repeat(tmp_path):
    first, second = run_two(tmp_path / 'first'), run_two(tmp_path / 'second')
    assert torch.equal(first[0]['weights'], first[1]['weights'])
    assert len(first[0]['answers']) == 2
    for one, other in zip(first[0]['answers'], first[1]['answers'], strict=True):
        assert not torch.equal(one, other)
    for rank in (0, 1):
        assert torch.equal(first[rank]['weights'], second[rank]['weights'])
        for one, again in zip(first[rank]['answers'], second[rank]['answers'], strict=True):
            assert torch.equal(one, again)


# --- Misuse -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('ratios', 'error', 'message'),
    [
        ({}, ValueError, 'at least one entry'),
        (0.5, ValueError, 'must be a dict'),
        ({'all': 1.0}, ValueError, 'got 1.0'),
        ({'all': dict(type='linear', stop=0.5)}, TypeError, "'end'"),
    ],
)
def test_wrong_options(ratios, error, message):
    with pytest.raises(error, match=message):
        RSMScheduleHook(ratios)


def test_names_of_no_neuron(tmp_path):
    runner = runner_of(tmp_path, dict(ratios={'mlp': 0.5}))
    with pytest.raises(ValueError, match="'mlp' names no neuron of Toy"):
        runner.train()


def test_epochs_where_there_are_none(tmp_path):
    runner = runner_of(tmp_path, GROWING, train_cfg=dict(by_epoch=False, max_iters=2))
    with pytest.raises(ValueError, match='give by_epoch=False'):
        runner.train()


def test_neurons_of_mmcv_layers(tmp_path):
    class WithLIF(Toy):
        def __init__(self):
            super().__init__()
            self.net[3] = LIF()

    runner = runner_of(tmp_path, dict(ratios={'all': 0.5}), model=WithLIF())
    runner.train()
    assert runner.model.ratios() == (0.5, 0.5)
