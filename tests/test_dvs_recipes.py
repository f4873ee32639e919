"""The recipes for event cameras do what SDT and SDT v3 are trained with."""

import math

import pytest
from mmengine.config import Config

from support.schedules import learning_rates
from support.small_runs import CONFIGS

CIFAR10_DVS, GESTURE_10, GESTURE_16 = (
    next(path for path in CONFIGS if path.stem.startswith('sdt') and part in path.stem)
    for part in ('amp-tet-coslr-210e_cifar10-dvs', 't10_1xb16', 't16_1xb16')
)
SDTV3 = [path for path in CONFIGS if '-sfa-t8d4_3xb24' in path.stem]
# Learning rate, where its warm-up begins, the lowest; weight decay, T, batch.
RECIPES = {
    CIFAR10_DVS: ('AdamW', 7.5e-3, 1e-3, 3e-4, 1e-4, 10, 32),
    GESTURE_16: ('Lamb', 3e-4, 1e-6, 1e-5, 0.06, 16, 16),
    GESTURE_10: ('Lamb', 2e-3, 1e-5, 1e-5, 1e-4, 10, 16),
}


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_settings(path):
    name, rate, _, _, decay, timesteps, batch = RECIPES[path]
    cfg = Config.fromfile(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == (name, rate, decay)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.paramwise_cfg.flat_decay_mult == 0
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.model.backbone.timesteps == cfg.model.head.timesteps == timesteps
    for part in ('train', 'val', 'test'):
        steps = {step['type']: step for step in cfg[f'{part}_dataloader'].dataset.pipeline}
        integrate = steps.pop('mmspike.IntegrateEvents')
        assert (integrate.timesteps, integrate.by) == (timesteps, 'number')
        resize = steps.pop('Resize', None)
        assert resize == (
            dict(type='Resize', scale=64, interpolation='bilinear') if path == CIFAR10_DVS else None
        )
        assert set(steps) == {'mmspike.LoadEvents', 'mmspike.PackEventFrames'}
    loss = cfg.model.head.loss
    if path == CIFAR10_DVS:
        assert loss.type == 'mmspike.TETLoss'
        assert 'lamb' not in loss  # 1e-3 is the default
        loss = loss.loss_ce
    assert loss.label_smooth_val == 0.1
    assert loss.mode == 'original'


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_learning_rates_of_epochs(path):
    """As timm has them: a line to epoch 10, the cosine of all 200, ten at the lowest rate."""
    _, rate, warmup, lowest, _, _, _ = RECIPES[path]
    cfg = Config.fromfile(path)
    rates = learning_rates(cfg)
    assert len(rates) == 210

    def cosine(epoch):
        return lowest + (rate - lowest) * (1 + math.cos(math.pi * epoch / 200)) / 2

    assert rates[0] == pytest.approx(warmup)
    assert rates[5] == pytest.approx((warmup + rate) / 2, rel=0.01)
    for epoch in (10, 50, 100, 199):
        assert rates[epoch] == pytest.approx(cosine(epoch), rel=0.01)
    assert rates[200:] == pytest.approx([lowest] * 10, rel=0.01)


def test_the_advised_variant_differs_in_what_was_advised():
    (path,) = (path for path in CONFIGS if 'tet-aug-ema' in path.stem)
    cfg = Config.fromfile(path)
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert 'loss_scale' not in cfg.optim_wrapper
    assert [hook.type for hook in cfg.custom_hooks][-1] == 'EMAHook'
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline][3:6] == [
        'RandomFlip', 'mmspike.RandomShift', 'Cutout',
    ]  # fmt: skip
    assert len(cfg.test_dataloader.dataset.pipeline) == 4
    assert cfg.param_scheduler == Config.fromfile(CIFAR10_DVS).param_scheduler


@pytest.mark.parametrize('path', SDTV3, ids=lambda path: path.stem)
def test_settings_of_sdtv3(path):
    cfg = Config.fromfile(path)
    optimizer, wrapper = cfg.optim_wrapper.optimizer, cfg.optim_wrapper
    # The rate is given for 256 recordings.
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 1e-2)
    assert optimizer.lr == pytest.approx(1.125e-5)
    assert wrapper.type == 'AmpOptimWrapper'
    assert wrapper.clip_grad == dict(max_norm=1)
    assert wrapper.paramwise_cfg.flat_decay_mult == 0
    assert cfg.train_dataloader.batch_size * 3 == cfg.auto_scale_lr.base_batch_size == 72
    assert cfg.train_dataloader.drop_last
    assert cfg.model.backbone.timesteps == cfg.model.head.timesteps == 8
    assert cfg.model.head.loss.label_smooth_val == 0.1
    average = cfg.custom_hooks[-1]
    assert (average.type, average.momentum, average.update_buffers) == ('EMAHook', 1e-3, True)
    for part in ('train', 'val', 'test'):
        steps = {step['type']: step for step in cfg[f'{part}_dataloader'].dataset.pipeline}
        assert steps['mmspike.IntegrateEvents'].timesteps == 8
        if path.stem.endswith('har-dvs'):
            assert steps['mmspike.ScaleEventFrames'].clip == 1
            assert (steps['ResizeEdge'].scale, steps['CenterCrop'].crop_size) == (256, 224)
            assert steps['ResizeEdge'].interpolation == 'bicubic'
            assert ('RandomFlip' in steps) is (part == 'train')


@pytest.mark.parametrize('path', SDTV3, ids=lambda path: path.stem)
def test_learning_rates_of_sdtv3_by_iteration(path):
    cfg = Config.fromfile(path)
    rates, highest = learning_rates(cfg, per_epoch=10), 1.125e-5
    assert len(rates) == 1000
    for i in range(100):
        assert rates[i] == pytest.approx(highest * i / 99, abs=1e-10)
    for i in range(100, 1000):
        cosine = (1 + math.cos(math.pi * (i - 100) / 900)) / 2
        assert rates[i] == pytest.approx(1e-6 + (highest - 1e-6) * cosine, rel=1e-3)
