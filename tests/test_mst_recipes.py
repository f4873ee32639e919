"""The recipes of MST do what it is trained with."""

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from support.schedules import learning_rates
from support.small_runs import CONFIGS

RECIPES = [path for path in CONFIGS if path.parent.name == 'mst' and 'digits' not in path.stem]


def ids(path):
    return path.stem


def test_all_are_looked_at():
    assert len(RECIPES) == 4


@pytest.mark.parametrize('path', RECIPES, ids=ids)
def test_decay_of_the_layers_only(path):
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(path)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=5.0)
    cfg.optim_wrapper.type = 'OptimWrapper'
    del cfg.optim_wrapper['loss_scale']
    cfg.model.backbone.arch = dict(embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=4)
    model = MODELS.build(cfg.model | dict(backbone=cfg.model.backbone | dict(out_indices=(1,))))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    decayed = set()
    for group in wrapper.optimizer.param_groups:
        assert group['lr'] == pytest.approx(1e-4)
        for parameter in group['params']:
            if group['weight_decay']:
                assert group['weight_decay'] == 0.05
                decayed.add(names[id(parameter)])
    assert decayed == {
        name
        for name, p in model.named_parameters()
        if p.dim() > 1 and not name.endswith('relative_position_bias_table')
    }
    assert any('threshold' in name for name in names.values()) == ('relu' not in path.stem)


@pytest.mark.parametrize('path', RECIPES, ids=ids)
def test_warm_up_then_cosine_by_iteration(path):
    cfg = Config.fromfile(path)
    epochs = 300 if path.stem.endswith('in1k') else 100
    assert cfg.train_cfg.max_epochs == epochs
    rates = learning_rates(cfg, per_epoch=10)
    assert len(rates) == 10 * epochs
    assert rates[0] == pytest.approx(1e-6)
    assert rates[200] == max(rates) == pytest.approx(1e-4, rel=1e-2)
    assert rates[(20 + epochs) * 5] == pytest.approx((1e-4 + 1e-5) / 2, rel=0.02)
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)


@pytest.mark.parametrize('path', RECIPES, ids=ids)
def test_settings(path):
    cfg = Config.fromfile(path)
    assert cfg.model.backbone.arch == 'tiny'
    assert cfg.model.backbone.drop_path_rate == 0.2
    imagenet = path.stem.endswith('in1k')
    assert cfg.model.backbone.get('mlp_norm', True) == imagenet
    assert cfg.model.head.loss.label_smooth_val == 0.1
    augments = [(one.type, one.alpha) for one in cfg.model.train_cfg.augments]
    assert augments == [('Mixup', 0.8), ('CutMix', 1.0)]
    assert cfg.train_dataloader.batch_size == cfg.test_dataloader.batch_size == 128
    assert cfg.auto_scale_lr.base_batch_size == (1024 if imagenet else 128)
    test = {step['type']: step for step in cfg.test_dataloader.dataset.pipeline}
    train = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    if imagenet:
        assert test['ResizeEdge']['scale'] == 256
        assert test['CenterCrop']['crop_size'] == 224
        assert (train['RandAugment']['magnitude_level'], train['RandAugment']['num_policies']) == (
            9,
            2,
        )
        assert train['RandomErasing']['erase_prob'] == 0.25
    else:
        assert test['Resize']['scale'] == train['Resize']['scale'] == 224
        assert (train['RandomCrop']['crop_size'], train['RandomCrop']['padding']) == (32, 4)
        assert list(train)[:3] == ['RandomCrop', 'Resize', 'RandomFlip']
        assert cfg.model.head.num_classes == int(path.stem.rpartition('cifar')[2])
        assert cfg.data_preprocessor.num_classes == cfg.model.head.num_classes
        normalise = cfg.data_preprocessor
        assert normalise.mean == pytest.approx([255 * x for x in (0.4914, 0.4822, 0.4465)])
        assert normalise.std == pytest.approx([255 * x for x in (0.2023, 0.1994, 0.2010)])
        assert cfg.train_dataloader.dataset.type == f'CIFAR{cfg.model.head.num_classes}'
        assert cfg.test_dataloader.dataset.split == 'test'
