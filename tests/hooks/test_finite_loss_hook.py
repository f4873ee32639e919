"""Training through mmengine's own Runner, with losses that become NaN."""

import math

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import TensorDataset

from mmspike.apis.config import load_config
from mmspike.hooks import FiniteLossHook, NotFiniteError
from mmspike.neurons import LIF
from support.small_runs import CONFIGS

BATCHES = 20  # of an epoch


class Power(nn.Module):
    """Overflows for inputs that are not small."""

    def forward(self, x):
        return x**40


class Toy(BaseModel):
    """Two losses, one of them a list; `act` stands between two layers."""

    def __init__(self, act=None, drop=0.0):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2, 4), nn.Dropout(drop))
        self.act = act or nn.Identity()
        self.last = nn.Linear(4, 1)

    def forward(self, x, mode='tensor'):
        y = self.last(self.act(self.first(x)))
        if mode != 'loss':
            return [y]
        return dict(loss_a=[y.mean(), (y - 1).abs().mean()], loss_b=y.mean(), accuracy=y.mean())


def run(
    folder, model, *, bad=None, at=10, by_epoch=True, wrapper=None, lr=0.0, optimizers=None, **hook
):
    """Train two epochs; batch ``at`` of each is made of ``bad``."""
    data = torch.rand(BATCHES, 2)
    if bad is not None:
        data[at] = bad
    loader = dict(
        dataset=TensorDataset(data),
        batch_size=1,
        sampler=dict(type='InfiniteSampler' if not by_epoch else 'DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    train_cfg = dict(max_epochs=2) if by_epoch else dict(max_iters=2 * BATCHES)
    interval = 1 if by_epoch else 3
    runner = Runner(
        model,
        str(folder),
        train_dataloader=loader,
        optim_wrapper=optimizers or dict(optimizer=dict(type='SGD', lr=lr), **(wrapper or {})),
        train_cfg=dict(by_epoch=by_epoch, **train_cfg),
        randomness=dict(seed=0),
        default_hooks=dict(
            finite_loss=dict(type='mmspike.FiniteLossHook', **hook),
            checkpoint=dict(
                type='mmspike.AtomicCheckpointHook', by_epoch=by_epoch, interval=interval
            ),
        ),
        default_scope='mmengine',
        experiment_name=f'{folder.parent.name}_{folder.name}',
    )
    runner.train()
    return runner


def test_the_layer_is_named_and_the_weights_are_still_good(tmp_path):
    model = Toy(Power())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NotFiniteError) as error:
        run(tmp_path, model, bad=1e20)
    text = str(error.value)
    assert 'stopped at iteration 11 (epoch 1): loss_a, loss_b is not finite' in text
    assert 'first layer whose output is not finite is act (Power)' in text
    assert 'learning rate was 0;' in text
    assert 'no checkpoint is left' in text
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_last_finite_checkpoint_is_named(tmp_path):
    with pytest.raises(NotFiniteError, match=r'finite weights is .*/iter_9\.pth'):
        run(tmp_path, Toy(Power()), bad=1e20, by_epoch=False)


def test_a_training_without_nan_is_what_it_was(tmp_path):
    weights = []
    for name, hook in (('with', {}), ('without', dict(interval=1000))):
        torch.manual_seed(0)
        model = Toy(drop=0.5)
        run(tmp_path / name, model, lr=0.1, **hook)
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
        assert not model._forward_hooks
        assert not model._forward_pre_hooks
    assert torch.equal(*weights)


def test_random_numbers_are_repeated_to_find_the_layer(tmp_path):
    """With others, dropout would often leave out the units that overflow."""
    with pytest.raises(NotFiniteError, match=r'is act \(Power\)'):
        run(tmp_path, Toy(Power(), drop=0.9), bad=1e20, at=slice(None))


def test_a_loss_alone(tmp_path):
    class Log(Toy):
        def forward(self, x, mode='tensor'):
            return dict(loss=(self.last(self.first(x)) * 0).log().mean())

    with pytest.raises(
        NotFiniteError, match='outputs of all layers are finite, so the cause is the loss itself'
    ):
        run(tmp_path, Log())


def test_a_batch_that_is_not_finite(tmp_path):
    with pytest.raises(NotFiniteError, match='the batch itself is not finite'):
        run(tmp_path, Toy(), bad=math.nan)


def test_the_model_runs_before_a_batch_is_blamed(tmp_path):
    """Layers may wait for those of other processes, whose batches are finite."""
    calls = []

    class Counting(Toy):
        def forward(self, x, mode='tensor'):
            calls.append(mode)
            return super().forward(x, mode)

    with pytest.raises(NotFiniteError, match='the batch itself is not finite'):
        run(tmp_path, Counting(), bad=math.nan, at=0)
    assert calls == ['loss', 'loss']


def test_several_optimizers(tmp_path):
    class Two(Toy):
        def train_step(self, data, optim_wrapper):
            losses = super().forward(data[0], 'loss')
            loss = losses['loss_b']
            optim_wrapper['first'].zero_grad()
            optim_wrapper['last'].zero_grad()
            optim_wrapper['first'].backward(loss)
            optim_wrapper['first'].step()
            optim_wrapper['last'].step()
            return dict(loss=loss)

    model = Two()
    wrappers = OptimWrapperDict(
        first=OptimWrapper(torch.optim.SGD(model.first.parameters(), lr=0.1)),
        last=OptimWrapper(torch.optim.SGD(model.last.parameters(), lr=0.1)),
    )
    before = model.last.weight.clone()
    run(tmp_path, model, optimizers=wrappers)
    assert not torch.equal(model.last.weight, before)


def test_other_values_than_losses_may_be_nan(tmp_path):
    class Metric(Toy):
        def forward(self, x, mode='tensor'):
            return dict(super().forward(x, mode), accuracy=torch.tensor(math.nan))

    run(tmp_path, Metric(), lr=0.1)


class Wild(nn.Module):
    """Passes its input on, with infinite gradients for inputs of 1."""

    def forward(self, x):
        return _Wild.apply(x)


class _Wild(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.bad = bool((x.abs() > 100).any())
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf if ctx.bad else grad


def test_infinite_gradients_are_told_by_the_weights_that_they_spoilt(tmp_path):
    with pytest.raises(
        NotFiniteError, match=r'first\.0\.weight was not finite before, because a gradient'
    ):
        run(tmp_path, Toy(Wild()), bad=1e6, lr=0.1)


@OPTIM_WRAPPERS.register_module(force=True)
class ScaledOnCPU(OptimWrapper):
    """mmengine's AmpOptimWrapper, which asks for a GPU, with torch's scaler for CPUs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scaler = torch.amp.GradScaler('cpu', init_scale=4.0)

    def backward(self, loss, **kwargs):
        self.scaler.scale(loss).backward()
        self._inner_count += 1

    def step(self, **kwargs):
        self.scaler.step(self.optimizer)
        self.scaler.update()


def test_a_step_that_the_scaler_skips_is_ordinary(tmp_path):
    model = Toy(Wild())
    runner = run(tmp_path, model, bad=1e6, lr=0.1, wrapper=dict(type='ScaledOnCPU'))
    assert runner.optim_wrapper.scaler.get_scale() < 4.0  # it did skip
    assert runner.iter == 2 * BATCHES


def test_a_loss_under_a_scaler_stops_although_the_step_is_skipped(tmp_path):
    with pytest.raises(NotFiniteError, match=r'iteration 11 .*is act \(Power\)'):
        run(tmp_path, Toy(Power()), bad=1e20, wrapper=dict(type='ScaledOnCPU'))


def test_gathered_gradients(tmp_path):
    with pytest.raises(NotFiniteError, match=r'iteration 11 .*is act \(Power\)'):
        run(tmp_path, Toy(Power()), bad=1e20, wrapper=dict(accumulative_counts=4))


def test_neurons_hide_nan_in_weights(tmp_path):
    """What gets NaN does not fire, and the loss stays finite."""
    model = Toy(LIF())
    model.first[0].weight.data.fill_(math.nan)
    assert model(torch.ones(1, 2))[0].isfinite()
    with pytest.raises(NotFiniteError, match=r'iteration 3 .*first\.0\.weight of the model'):
        run(tmp_path, model, weights_interval=3)


def test_only_every_nth_iteration(tmp_path):
    with pytest.raises(NotFiniteError, match=r'iteration 12 .*is act \(Power\)'):
        run(tmp_path / 'seen', Toy(Power()), bad=1e20, at=11, interval=3)
    with pytest.raises(NotFiniteError, match=r'iteration 12 .*first\.0\.weight was not finite'):
        run(tmp_path / 'unseen', Toy(Power()), bad=1e20, at=10, interval=3)


@pytest.mark.parametrize('option', ['interval', 'weights_interval'])
def test_intervals_are_checked(option):
    with pytest.raises(ValueError, match=f'{option} must be at least 1, got 0'):
        FiniteLossHook(**{option: 0})


@pytest.mark.slow
def test_all_configs_have_it():
    for path in CONFIGS:
        hooks = load_config(path).default_hooks
        assert hooks.finite_loss.type == 'mmspike.FiniteLossHook', path
        assert hooks.logger.type == 'mmspike.MainRankLoggerHook', path
        assert hooks.file_name.type == 'mmspike.FileNameHook', path
