"""The bases of event datasets feed networks, also where no recipe of the repository uses them."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from support.event_files import make_event_dataset
from support.paths import ROOT

BASES = ['cifar10_dvs', 'dvs128_gesture', 'n_caltech101', 'n_cars', 'har_dvs']


def loaders(name, folder):
    """The config, with small files in the place of the dataset, and its loaders."""
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    made = {}
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        make_event_dataset(loader.dataset.type, folder / 'data')
        loader.dataset.data_root = str(folder / 'data')
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        made[part] = Runner.build_dataloader(loader)
    return cfg, made


def classifier(timesteps, num_classes, preprocessor):
    neuron = dict(type='mmspike.LIF')
    return MODELS.build(
        dict(
            type='ImageClassifier',
            data_preprocessor=preprocessor,
            backbone=dict(
                type='mmspike.SDT',
                arch=dict(embed_dims=16, depth=1),
                num_heads=2,
                in_channels=2,
                timesteps=timesteps,
                neuron_cfg=neuron,
            ),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='mmspike.SpikeLinearClsHead',
                num_classes=num_classes,
                in_channels=16,
                timesteps=timesteps,
                neuron_cfg=neuron,
            ),
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', BASES)
def test_a_network_learns_from_every_base(tmp_path, name):
    cfg, made = loaders(name, tmp_path)
    step = next(s for s in cfg.train_pipeline if s.type == 'mmspike.IntegrateEvents')
    model = classifier(step.timesteps, cfg.data_preprocessor.num_classes, cfg.data_preprocessor)
    sizes = set()
    for part, loader in made.items():
        assert loader.dataset.split == part or (part == 'val' and name != 'har_dvs')
        batch = next(iter(loader))
        sizes.add(batch['inputs'][0].shape)
        if part == 'train':
            losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
            losses['loss'].backward()
            assert torch.isfinite(losses['loss'])
            assert model.backbone.stages[0].conv.conv.weight.grad.any()
        else:
            with torch.no_grad():
                samples = model.val_step(batch)
            assert [sample.pred_score.shape for sample in samples] == [
                (cfg.data_preprocessor.num_classes,)
            ] * len(samples)
    assert len(sizes) == 1
    assert sizes.pop()[:2] == (step.timesteps, 2)


@pytest.mark.slow
def test_one_image_of_all_events_for_a_network_without_time(tmp_path):
    cfg, _ = loaders('n_cars', tmp_path)
    dataset = cfg.train_dataloader.dataset
    dataset.pipeline[1] = dict(type='mmspike.IntegrateEvents', timesteps=None)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    arch = dict(embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=4)
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            data_preprocessor=dict(num_classes=2),
            backbone=dict(
                type='mmspike.MST', arch=arch, in_channels=2, channel_align=True, out_indices=(1,)
            ),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=16),
        )
    )
    inputs = model.data_preprocessor(batch, training=True)
    assert inputs['inputs'].shape == (2, 2, 64, 64)
    assert torch.isfinite(model(**inputs, mode='loss')['loss'])
