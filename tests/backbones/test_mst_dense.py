"""MST under stock heads of mmdet and mmseg, on images of odd sizes."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmspike.neurons import QCFS, SpikingQCFS

SIZE = (70, 53)
ARCH = dict(embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window_size=4)
WIDTHS = [8, 16, 32, 64]
QUANTISED = dict(neuron_cfg=dict(type='mmspike.QCFS', levels=8))
SPIKING = dict(neuron_cfg=dict(type='mmspike.SpikingQCFS'), timesteps=8)

DETECTOR = dict(
    type='RetinaNet',
    neck=dict(
        type='FPN', in_channels=WIDTHS, out_channels=16, start_level=1,
        add_extra_convs='on_input', num_outs=5,
    ),
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=16, feat_channels=16, stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='L1Loss'),
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1,
    ),
    test_cfg=dict(
        nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5
    ),
)  # fmt: skip
SEGMENTOR = dict(
    type='EncoderDecoder',
    decode_head=dict(
        type='UPerHead', in_channels=WIDTHS, in_index=[0, 1, 2, 3], channels=16, num_classes=4,
        norm_cfg=dict(type='BN'), align_corners=False, loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)  # fmt: skip


def build(cfg, scope, form):
    init_default_scope(scope)
    backbone = dict(type='mmspike.MST', arch=ARCH, out_indices=(0, 1, 2, 3), readout=True, **form)
    return MODELS.build(ConfigDict(cfg, backbone=backbone))


def detection_sample():
    objects = InstanceData(bboxes=torch.tensor([[4.0, 6.0, 36.0, 40.0]]), labels=torch.tensor([1]))
    metainfo = dict(
        img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, scale_factor=(1.0, 1.0), img_id=0
    )
    return DetDataSample(gt_instances=objects, ignored_instances=objects[:0], metainfo=metainfo)


def segmentation_sample():
    labels = torch.arange(SIZE[0] * SIZE[1]).view(1, *SIZE) * 4 // (SIZE[0] * SIZE[1])
    metainfo = dict(img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE)
    return SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=metainfo)


@pytest.mark.parametrize(
    ('cfg', 'scope', 'make_sample'),
    [
        (DETECTOR, 'mmdet', detection_sample),
        (SEGMENTOR, 'mmseg', segmentation_sample),
    ],
    ids=['FPN and RetinaNet', 'UPerNet'],
)
def test_trains_quantised_and_predicts_on_spikes(cfg, scope, make_sample):
    images = torch.randn(2, 3, *SIZE)
    samples = [make_sample(), make_sample()]
    model = build(cfg, scope, QUANTISED)
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    values = []
    for _ in range(4):
        losses = model(images, samples, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        values.append(loss.item())
        optimizer.step()
    assert values[-1] < values[0]
    # The last norm's bias, the thresholds, the tables of positions: everything learns.
    still = [name for name, p in model.named_parameters() if p.grad is None]
    assert still == []
    assert any(isinstance(module, QCFS) for module in model.modules())

    spiking = build(cfg, scope, SPIKING).eval()
    spiking.load_state_dict(model.state_dict())
    assert any(isinstance(module, SpikingQCFS) for module in spiking.modules())
    with torch.no_grad():
        maps = spiking.backbone(images)
        results = spiking(images, samples, mode='predict')
    assert [tuple(x.shape[2:]) for x in maps] == [(18, 14), (9, 7), (5, 4), (3, 2)]
    assert [len(x) for x in maps] == [2] * 4
    assert len(results) == 2
    for result in results:
        if scope == 'mmdet':
            assert len(result.pred_instances) == 5
            assert result.pred_instances.scores.isfinite().all()
        else:
            assert result.pred_sem_seg.data.shape == (1, *SIZE)
            assert result.seg_logits.data.isfinite().all()
