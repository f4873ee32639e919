"""A detector of binary neurons learns from its first steps on."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from mmspike.recorders.firing_rates import FiringRateRecorder


def detector(neuron_cfg, timesteps):
    options = dict(neuron_cfg=neuron_cfg, timesteps=timesteps)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(
            type='RetinaNet',
            backbone=dict(
                type='mmspike.MetaSpikformer', out_indices=(2, 4), arch=dict(
                    embed_dims=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1, 1), num_heads=2,
                    stem_stride=2,
                ), **options,
            ),
            neck=dict(
                type='mmspike.SpikeFPN', in_channels=[16, 16], out_channels=32, num_outs=2,
                **options,
            ),
            bbox_head=dict(
                type='mmspike.SpikeRetinaHead', num_classes=2, in_channels=32, feat_channels=32,
                stacked_convs=2, anchor_generator=dict(
                    type='AnchorGenerator', octave_base_scale=2, scales_per_octave=1,
                    ratios=[1.0], strides=[8, 16],
                ),
                bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
                loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
                loss_bbox=dict(type='L1Loss'), **options,
            ),
            train_cfg=dict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0
                ),
                sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1,
            ),
        ))  # fmt: skip


def squares():
    """Two images with a bright and a dark square each."""
    images, samples = torch.zeros(2, 3, 64, 64), []
    boxes = torch.tensor([[8.0, 8, 24, 24], [36, 32, 56, 52]])
    for image in images:
        for (x1, y1, x2, y2), value in zip(boxes.int().tolist(), (2.0, -2.0), strict=True):
            image[:, y1:y2, x1:x2] = value
        meta = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]))
        samples.append(sample)
    return images, samples


@pytest.mark.slow  # thirty steps of a whole detector
@pytest.mark.parametrize('timesteps', [1, 2])
def test_a_detector_with_the_default_lif_learns(timesteps):
    register_all_modules(init_default_scope=False)
    torch.manual_seed(0)
    model = detector(dict(type='mmspike.LIF'), timesteps)
    model.init_weights()
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    images, samples = squares()
    losses = []
    for _ in range(30):
        with FiringRateRecorder(model) as recorder:
            loss, _ = model.parse_losses(model.loss(images, samples))
        parts = [rate for rate in recorder.rates() if not rate.name.startswith('backbone')]
        assert len(parts) == 10
        assert not [rate.name for rate in parts if not rate.spikes]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.85 * losses[0], losses
