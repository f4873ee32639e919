"""The ImageNet recipe does what SDT v3 base is trained with."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, LinearLR, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import MODELS

from support.small_runs import CONFIGS

IMAGENET = [
    path for path in CONFIGS if path.parent.name == 'metaspikformer' and path.stem.endswith('in1k')
]
PER_EPOCH = 625  # 1 281 167 images // 2048, the last short batch is dropped


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
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=4.8e-3)
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict(spec), default_args=dict(optimizer=optimizer, epoch_length=PER_EPOCH)
        )
        for spec in cfg.param_scheduler
    ]
    assert [type(s) for s in schedulers] == [LinearLR, CosineAnnealingLR]
    rates = []
    for _ in range(200 * PER_EPOCH):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] < 1e-7
    assert rates[5 * PER_EPOCH] == pytest.approx(4.8e-3, rel=1e-3)
    assert max(rates) == pytest.approx(4.8e-3, rel=1e-3)
    middle = (5 + 195 // 2) * PER_EPOCH
    assert rates[middle] == pytest.approx(2.4e-3, rel=0.02)
    assert rates[-1] == pytest.approx(1e-6, rel=0.05)


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
