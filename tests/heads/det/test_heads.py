"""The detection heads beside mmdet's."""

import pytest
import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmspike import set_timesteps
from mmspike.heads.det import (
    SpikeCascadeRoIHead,
    SpikeConvFCBBoxHead,
    SpikeFCNMaskHead,
    SpikeRetinaHead,
    SpikeRPNHead,
    SpikeShared2FCBBoxHead,
    SpikeShared4Conv1FCBBoxHead,
    SpikeStandardRoIHead,
)
from mmspike.heads.det.roi_head import TiledRoIExtractor, tile_rois
from mmspike.neurons import BaseNeuron
from mmspike.registry import MODELS as OURS
from mmspike.temporal import unfold_time

ANCHORS = dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8])
CODER = dict(type='DeltaXYWHBBoxCoder')
LIF = dict(type='mmspike.LIF')


@pytest.fixture(autouse=True)
def _scope():
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@OURS.register_module(name='PassingForHeads')
class Passing(BaseNeuron):
    """ReLU in place of a neuron: what the stock heads have behind their layers."""

    spike_value = 1.0

    def fire(self, x, v):
        return x.relu(), None

    def describe(self):
        return dict(type='mmspike.PassingForHeads')


def rpn(**options):
    return SpikeRPNHead(4, feat_channels=6, anchor_generator=ANCHORS, bbox_coder=CODER, **options)


def retina(**options):
    return SpikeRetinaHead(
        3, 4, feat_channels=6, stacked_convs=2, anchor_generator=ANCHORS, bbox_coder=CODER,
        **options,
    )  # fmt: skip


def box(cls=SpikeShared2FCBBoxHead, **options):
    return cls(
        in_channels=4, fc_out_channels=16, roi_feat_size=3, num_classes=3, bbox_coder=CODER,
        **options,
    )  # fmt: skip


def mask(**options):
    return SpikeFCNMaskHead(
        num_convs=2, in_channels=4, conv_out_channels=6, num_classes=3, **options
    )


HEADS = [
    (lambda **o: rpn(**o).forward_single, (6, 4, 8, 8)),
    (lambda **o: rpn(num_convs=2, **o).forward_single, (6, 4, 8, 8)),
    (lambda **o: retina(**o).forward_single, (6, 4, 8, 8)),
    (lambda **o: box(**o), (6, 4, 3, 3)),
    (lambda **o: box(SpikeShared4Conv1FCBBoxHead, conv_out_channels=4, **o), (6, 4, 3, 3)),
    (
        lambda **o: box(
            SpikeConvFCBBoxHead, num_cls_convs=1, num_reg_fcs=1, conv_out_channels=4, **o
        ),
        (6, 4, 3, 3),
    ),
    (lambda **o: mask(**o), (6, 4, 7, 7)),
    (lambda **o: mask(upsample_cfg=dict(type='bilinear', scale_factor=2), **o), (6, 4, 7, 7)),
]


def as_tuple(out):
    return out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize(('make', 'shape'), HEADS)
def test_stateless_neurons_give_the_mean_of_separate_passes(make, shape):
    x = torch.randn(shape) * 2
    torch.manual_seed(0)
    together = as_tuple(make(timesteps=3)(x))
    torch.manual_seed(0)
    single = make(timesteps=1)
    steps = [as_tuple(single(step)) for step in unfold_time(x, 3)]
    for out, parts in zip(together, zip(*steps, strict=True), strict=True):
        assert out.shape[0] == 2
        torch.testing.assert_close(out, torch.stack(parts).mean(0), rtol=1e-4, atol=1e-5)


STOCK = [
    (
        dict(type='RPNHead', in_channels=4, feat_channels=6),
        rpn, (2, 4, 8, 8),
    ),
    (
        dict(type='RetinaHead', num_classes=3, in_channels=4, feat_channels=6, stacked_convs=2),
        retina, (2, 4, 8, 8),
    ),
    (
        dict(type='FCNMaskHead', num_convs=2, in_channels=4, conv_out_channels=6, num_classes=3),
        mask, (5, 4, 7, 7),
    ),
]  # fmt: skip


@pytest.mark.parametrize(('cfg', 'make', 'shape'), STOCK, ids=lambda value: str(value)[:20])
def test_with_relu_for_neurons_it_is_the_stock_head(cfg, make, shape):
    """For a positive input: the stock heads have their ReLUs behind the layers, ours before."""
    ours = make(neuron_cfg=dict(type='mmspike.PassingForHeads'))
    if cfg['type'] != 'FCNMaskHead':
        cfg = dict(cfg, anchor_generator=ANCHORS, bbox_coder=CODER)
    stock = MODELS.build(cfg)
    for theirs, own in zip(stock.parameters(), ours.parameters(), strict=True):
        theirs.data.copy_(own.data)
    x = torch.rand(shape)
    outs = [
        as_tuple(head.forward_single(x) if hasattr(head, 'forward_single') else head(x))
        for head in (ours, stock)
    ]
    for own, theirs in zip(*outs, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)


# --- RoI heads ----------------------------------------------------------------------------------


def train_cfg():
    return ConfigDict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5,
                      match_low_quality=False, ignore_iof_thr=-1),
        sampler=dict(type='RandomSampler', num=12, pos_fraction=0.5, neg_pos_ub=-1,
                     add_gt_as_proposals=True),
        mask_size=14, pos_weight=-1, debug=False,
    )  # fmt: skip


TEST_CFG = ConfigDict(
    score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=9, mask_thr_binary=0.5
)


def extractor(size):
    return dict(
        type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=size),
        out_channels=4, featmap_strides=[4, 8], finest_scale=16,
    )  # fmt: skip


def box_cfg(prefix='mmspike.Spike', **options):
    return dict(
        type=f'{prefix}Shared2FCBBoxHead', in_channels=4, fc_out_channels=16, roi_feat_size=3,
        num_classes=3, bbox_coder=CODER, **options,
    )  # fmt: skip


def mask_cfg(prefix='mmspike.Spike', **options):
    return dict(
        type=f'{prefix}FCNMaskHead', num_convs=1, in_channels=4, conv_out_channels=6,
        num_classes=3, **options,
    )  # fmt: skip


def standard(timesteps, share=False, **options):
    torch.manual_seed(0)
    return SpikeStandardRoIHead(
        bbox_roi_extractor=extractor(7 if share else 3),
        bbox_head=dict(box_cfg(**options), roi_feat_size=7 if share else 3),
        mask_roi_extractor=None if share else extractor(7),
        mask_head=mask_cfg(**options), train_cfg=train_cfg(), test_cfg=TEST_CFG,
        timesteps=timesteps,
    )  # fmt: skip


def cascade(timesteps, **options):
    torch.manual_seed(0)
    return SpikeCascadeRoIHead(
        num_stages=2, stage_loss_weights=[1, 0.5], bbox_roi_extractor=extractor(3),
        bbox_head=[box_cfg(reg_class_agnostic=True, **options) for _ in range(2)],
        mask_roi_extractor=extractor(7), mask_head=mask_cfg(**options),
        train_cfg=[train_cfg(), train_cfg()], test_cfg=TEST_CFG, timesteps=timesteps,
    )  # fmt: skip


def scene(batch=2, objects=3, size=64):
    """Proposals and data samples of a batch."""
    generator = torch.Generator().manual_seed(1)
    proposals, samples = [], []
    for _ in range(batch):
        corner = torch.rand(objects + 6, 2, generator=generator) * size * 0.6
        boxes = torch.cat([corner, corner + 8 + torch.rand(len(corner), 2) * 16], 1)
        proposals.append(InstanceData(bboxes=boxes, scores=torch.rand(len(boxes))))
        sample = DetDataSample(
            metainfo=dict(img_shape=(size, size), ori_shape=(size, size), scale_factor=(1.0, 1.0))
        )
        masks = (torch.rand(objects, size, size, generator=generator) > 0.5).numpy()
        sample.gt_instances = InstanceData(
            bboxes=boxes[:objects],
            labels=torch.arange(objects) % 3,
            masks=BitmapMasks(masks.astype('uint8'), size, size),
        )
        samples.append(sample)
    return proposals, samples


def maps(rows):
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(rows, 4, s, s, generator=generator) for s in (16, 8))


def test_regions_are_tiled_in_time_major_order():
    rois = torch.tensor([[0.0, 1, 2, 3, 4], [1.0, 5, 6, 7, 8], [1.0, 0, 0, 9, 9]])
    tiled = tile_rois(rois, timesteps=3, batch=2)
    assert tiled[:, 0].tolist() == [0, 1, 1, 2, 3, 3, 4, 5, 5]
    assert torch.equal(tiled[:, 1:], rois[:, 1:].repeat(3, 1))
    assert tile_rois(rois[:0], 3, 2).shape == (0, 5)


@pytest.mark.parametrize('timesteps', [1, 4])
def test_tiling_equals_the_loop_over_time(timesteps):
    """One call on T*n regions is the mean of T stock passes, each on the maps of its step."""
    head = standard(timesteps)
    feats, (proposals, _) = maps(timesteps * 2), scene()
    ours = head(feats, proposals)
    set_timesteps(head, 1)
    stock = StandardRoIHead(
        bbox_roi_extractor=extractor(3), bbox_head=box_cfg(), mask_roi_extractor=extractor(7),
        mask_head=mask_cfg(),
    )  # fmt: skip
    stock.bbox_head, stock.mask_head = head.bbox_head, head.mask_head
    steps = [
        stock(tuple(level[2 * t : 2 * t + 2] for level in feats), proposals)
        for t in range(timesteps)
    ]
    assert len(ours) == 3  # scores, boxes and masks
    for own, parts in zip(ours, zip(*steps, strict=True), strict=True):
        torch.testing.assert_close(own, torch.stack(parts).mean(0), rtol=1e-4, atol=1e-5)


def test_regions_of_a_single_map():
    """A backbone without a pyramid gives one."""
    cfg = dict(
        type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=3), out_channels=4,
        featmap_strides=[4],
    )  # fmt: skip
    ours = TiledRoIExtractor(MODELS.build(cfg))
    set_timesteps(ours, 2)
    level = maps(4)[0]
    rois = torch.tensor([[0.0, 4, 4, 30, 30], [1.0, 10, 0, 60, 50]])
    steps = [ours.extractor((level[:2],), rois), ours.extractor((level[2:],), rois)]
    assert torch.equal(ours((level,), rois), torch.cat(steps))


@pytest.mark.parametrize('make', [standard, cascade, lambda t, **o: standard(t, share=True, **o)])
@pytest.mark.parametrize('neuron', [dict(type='mmspike.SFA'), LIF], ids=str)
@pytest.mark.parametrize('timesteps', [1, 3])
def test_losses_and_predictions(make, neuron, timesteps):
    head = make(timesteps, neuron_cfg=neuron)
    proposals, samples = scene()
    feats = tuple(level.requires_grad_() for level in maps(timesteps * 2))
    losses = head.loss(feats, proposals, samples)
    total = sum(value.sum() for name, value in losses.items() if 'loss' in name)
    total.backward()
    assert torch.isfinite(total)
    assert feats[0].grad.abs().sum() > 0
    proposals, samples = scene()
    with torch.no_grad():
        results = head.predict(feats, proposals, samples)
    assert len(results) == 2
    for result in results:
        assert result.masks.shape[1:] == (64, 64)
        assert len(result.bboxes) == len(result.labels) <= 9


@pytest.mark.parametrize('make', [standard, cascade])
def test_no_proposals_and_no_objects(make):
    head = make(3, neuron_cfg=LIF)
    proposals, samples = scene(objects=0)
    losses = head.loss(maps(6), proposals, samples)
    assert all(torch.isfinite(value).all() for value in losses.values())
    empty = [InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0)) for _ in range(2)]
    with torch.no_grad():
        results = head.predict(maps(6), empty, scene()[1])
    assert [len(result.bboxes) for result in results] == [0, 0]


def test_maps_of_other_time_steps_are_an_error():
    head = standard(4)
    with pytest.raises(ValueError, match='cannot hold 4 time steps'):
        head(maps(6), scene()[0])


@pytest.mark.parametrize('sampler', ['OHEMSampler', 'ScoreHLRSampler'])
def test_samplers_that_look_at_maps_are_refused(sampler):
    cfg = train_cfg()
    cfg.sampler = dict(type=sampler, num=12, pos_fraction=0.5)
    with pytest.raises(ValueError, match=f'{sampler} runs the box head on maps of single images'):
        SpikeStandardRoIHead(
            bbox_roi_extractor=extractor(3), bbox_head=box_cfg(), train_cfg=cfg, timesteps=2
        )
