"""SDT's recipes are those that its published weights were trained with."""

import math

import pytest
from mmengine.config import Config

from mmspike.heads.cls.tet_loss import TETLoss
from support.schedules import learning_rates
from support.small_runs import CONFIGS

SDT = {path.stem: path for path in CONFIGS if path.parent.name == 'sdt'}
# size -> learning rate, its end, magnitude of RandAugment, smallest crop, share mixed, batch
IMAGENET = {
    '6-512': (1e-3, 2e-5, 7, 0.08, 0.6, 48),
    '8-384': (1.5e-3, 1.5e-5, 5, 0.2, 0.6, 48),
    '8-512': (1.5e-3, 1.5e-5, 5, 0.2, 0.6, 48),
    '10-512': (1e-3, 2e-5, 7, 0.2, 0.75, 36),
    '8-768': (1e-3, 2e-5, 7, 0.08, 1.0, 36),
}
CIFAR = [name for name in SDT if '_cifar10' in name and 'dvs' not in name]


def check_rates(cfg, peak, warmup, lowest):
    """As timm's schedule: the cosine begins at epoch 0, the warm-up hides its first 20 epochs."""
    rates = learning_rates(cfg)
    assert len(rates) == 310
    assert rates[0] == pytest.approx(warmup)
    for epoch in range(20, 300):
        cosine = lowest + (peak - lowest) * (1 + math.cos(math.pi * epoch / 300)) / 2
        assert rates[epoch] == pytest.approx(cosine, abs=1e-3 * peak)
    assert rates[300:] == pytest.approx([lowest] * 10, rel=1e-3)
    for epoch in range(20):
        assert rates[epoch] == pytest.approx(warmup + (peak - warmup) * epoch / 20, abs=0.02 * peak)


def steps_of(cfg, part='train'):
    return {step['type']: step for step in cfg[f'{part}_dataloader'].dataset.pipeline}


@pytest.mark.parametrize('size', IMAGENET)
def test_imagenet(size):
    rate, lowest, magnitude, crop, mixed, batch = IMAGENET[size]
    cfg = Config.fromfile(SDT[f'sdt-{size}-lif-t4_8xb{batch}-amp-coslr-310e_in1k'])
    check_rates(cfg, rate, 1e-5, lowest)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.optimizer == dict(type='Lamb', lr=rate, weight_decay=0.01)
    assert cfg.optim_wrapper.paramwise_cfg.flat_decay_mult == 0
    for part in ('train', 'val', 'test'):
        assert cfg[f'{part}_dataloader'].batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == 8 * batch
    steps = steps_of(cfg)
    assert steps['RandomResizedCrop'].get('crop_ratio_range', (0.08, 1.0)) == (crop, 1.0)
    augment = steps['RandAugment']
    assert (augment.magnitude_level, augment.magnitude_std, augment.num_policies) == (
        magnitude, 0.5, 2,
    )  # fmt: skip
    assert 'RandomErasing' not in steps
    test = steps_of(cfg, 'test')
    assert (test['ResizeEdge'].scale, test['CenterCrop'].crop_size) == (235, 224)
    mixing = cfg.model.train_cfg
    assert mixing.augments == [dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)]
    assert mixing.probs == [mixed / 2, mixed / 2]
    backbone = cfg.model.backbone
    assert (backbone.arch, backbone.pooling_stat, backbone.timesteps) == (size, '1111', 4)
    assert cfg.model.head.in_channels == int(size.partition('-')[2])
    assert cfg.model.head.loss.label_smooth_val == 0.1


def test_large_images():
    cfg = Config.fromfile(SDT['sdt-8-768-lif-t4_8xb36-amp-coslr-310e_in1k-288px'])
    for part in ('val', 'test'):
        steps = steps_of(cfg, part)
        assert (steps['ResizeEdge'].scale, steps['CenterCrop'].crop_size) == (320, 288)
    assert steps_of(cfg)['RandomResizedCrop'].scale == 224


@pytest.mark.parametrize('name', CIFAR)
def test_cifar(name):
    cfg = Config.fromfile(SDT[name])
    check_rates(cfg, 3e-4, 1e-6, 1e-5)
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=3e-4, weight_decay=0.06)
    assert cfg.train_dataloader.batch_size == 64
    steps = steps_of(cfg)
    augment = steps['RandAugment']
    assert (augment.magnitude_level, augment.magnitude_std, augment.num_policies) == (9, 0.4, 1)
    mean = cfg.data_preprocessor.mean
    assert augment.hparams == dict(pad_val=[round(x) for x in mean], interpolation='bicubic')
    assert set(steps) == {'RandomFlip', 'RandAugment', 'PackInputs'}
    assert cfg.model.train_cfg == dict(augments=[dict(type='Mixup', alpha=0.5)])
    (switch,) = (hook for hook in cfg.custom_hooks if hook.type == 'SwitchRecipeHook')
    assert switch.schedule == [dict(action_epoch=201, batch_augments=None)]
    classes = 100 if name.endswith('100') else 10
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == classes
    for part in ('train', 'val', 'test'):
        assert cfg[f'{part}_dataloader'].dataset.type == f'CIFAR{classes}'
    assert cfg.model.backbone.pooling_stat == '0011'


def test_every_published_setting_of_cifar_is_there():
    assert len(CIFAR) == 5
    (tet,) = (SDT[name] for name in CIFAR if '-tet-' in name)
    loss = Config.fromfile(tet).model.head.loss
    assert loss.type == 'mmspike.TETLoss'
    assert loss.loss_ce.label_smooth_val == 0.1
    assert (TETLoss().lamb, TETLoss().mean) == (1e-3, 1.0)
