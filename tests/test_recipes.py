"""The ImageNet recipe does what SDT v3 base is trained with."""

import math

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from support.schedules import learning_rates
from support.small_runs import CONFIGS

IMAGENET = [
    path for path in CONFIGS if path.parent.name == 'metaspikformer' and path.stem.endswith('in1k')
]


@pytest.fixture(scope='module')
def cfg():
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(IMAGENET[-1])
    cfg.optim_wrapper.type = 'OptimWrapper'
    del cfg.optim_wrapper['loss_scale']
    return cfg


def optimizer_of(cfg, **backbone):
    model_cfg = cfg.model.copy()
    model_cfg.backbone = dict(cfg.model.backbone, arch='tiny', **backbone)
    model_cfg.head = dict(cfg.model.head, in_channels=128)
    model = MODELS.build(model_cfg)
    return model, build_optim_wrapper(model, cfg.optim_wrapper).optimizer


def test_lamb_without_decay_on_flat_parameters(cfg):
    neuron = dict(type='mmspike.PLIF')
    model, optimizer = optimizer_of(cfg, neuron_cfg=neuron, layer_scale_init_value=1e-6)
    assert type(optimizer).__name__ == 'Lamb'
    assert optimizer.defaults['trust_clip']
    names = {id(p): name for name, p in model.named_parameters()}
    seen = 0
    for group in optimizer.param_groups:
        for parameter in group['params']:
            expected = 0.05 if parameter.dim() > 1 else 0.0
            assert group['weight_decay'] == expected, names[id(parameter)]
            assert group['lr'] == pytest.approx(4.8e-3)
            seen += 1
    assert seen == len(names)


def test_warm_up_then_cosine_by_iteration(cfg):
    assert [one.type for one in cfg.param_scheduler] == ['LinearLR', 'CosineAnnealingLR']
    rates = learning_rates(cfg, per_epoch=10)
    assert len(rates) == 2000
    assert rates[0] < 1e-7
    for i in range(50):
        assert rates[i] == pytest.approx(4.8e-3 * i / 49, abs=1e-7)
    for i in range(50, 2000):
        cosine = (1 + math.cos(math.pi * (i - 50) / 1950)) / 2
        assert rates[i] == pytest.approx(1e-6 + (4.8e-3 - 1e-6) * cosine, rel=1e-3)


@pytest.mark.parametrize('path', IMAGENET, ids=lambda path: path.stem)
def test_settings(path):
    cfg = Config.fromfile(path)
    assert cfg.train_cfg.max_epochs == 200
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 2048
    assert cfg.train_dataloader.drop_last
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.model.head.loss.label_smooth_val == 0.1
    assert 'augments' not in str(cfg.model)
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    augment, erasing = steps['RandAugment'], steps['RandomErasing']
    assert (augment['num_policies'], augment['magnitude_level'], augment['magnitude_std']) == (
        2, 9, 0.5,
    )  # fmt: skip
    assert augment['policies'] == 'timm_increasing'
    assert (erasing['erase_prob'], erasing['mode']) == (0.25, 'rand')
    test = {step['type']: step for step in cfg.test_dataloader.dataset.pipeline}
    assert test['ResizeEdge']['scale'] == 232
    assert test['CenterCrop']['crop_size'] == 224
