"""Quantised and spiking models of all three hosts, stock but for two lines."""

import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from mmspike.neurons import QCFS, SpikingQCFS
from mmspike.registry import MODELS
from mmspike.temporal import get_timesteps

RESNET = dict(depth=18, base_channels=8, stem_channels=8, num_stages=4)
CLASSIFIERS = dict(
    resnet=(dict(type='ResNet', out_indices=(3,), **RESNET), 64),
    vgg=(dict(type='VGG', depth=11, norm_cfg=dict(type='BN')), 512),
    swin=(
        dict(
            type='SwinTransformer', img_size=32, patch_size=2, window_size=4, out_indices=(1,),
            arch=dict(embed_dims=16, depths=[2, 2], num_heads=[2, 4]), drop_path_rate=0.0,
        ),
        32,
    ),
)  # fmt: skip


def classifier(name):
    backbone, channels = CLASSIFIERS[name]
    return dict(
        host='ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=4, in_channels=channels, topk=(1,)),
    )


def detector():
    return dict(
        host='RetinaNet',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=4,
                      out_indices=(1, 2, 3), norm_eval=False),
        neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=16, num_outs=3),
        bbox_head=dict(
            type='RetinaHead', num_classes=3, in_channels=16, stacked_convs=1, feat_channels=16,
            anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1,
                                  ratios=[1.0], strides=[8, 16, 32]),
        ),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            allowed_border=-1, pos_weight=-1,
        ),
        test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0,
                      nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
    )  # fmt: skip


def segmentor():
    return dict(
        host='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
        backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, num_stages=4,
                      out_indices=(0, 1, 2, 3)),
        decode_head=dict(
            type='FCNHead', in_channels=64, in_index=3, channels=16, num_convs=1, num_classes=5,
            concat_input=False, norm_cfg=dict(type='BN'),
        ),
        test_cfg=dict(mode='whole'),
    )  # fmt: skip


def images(*size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def build(kind, scope, cfg, train=False, **options):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(ConfigDict(cfg, type=f'mmspike.{kind}', **options))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    if not train:
        model.eval()
    return model


def pair(scope, cfg, timesteps, **simulation):
    """A quantised model and the spiking one with its weights."""
    qcfs = dict(levels=64, thresholds=1.0, average_pools=True)
    quantised = build('QuantisedModel', scope, cfg, qcfs=qcfs)
    simulation = dict(simulation, timesteps=timesteps, chunk=8)
    spiking = build('SpikingModel', scope, cfg, qcfs=qcfs, simulation=simulation)
    assert set(spiking.state_dict()) == set(quantised.state_dict())
    spiking.load_state_dict(quantised.state_dict())
    assert get_timesteps(spiking) == timesteps
    return quantised, spiking


def fit_thresholds(model, run):
    """Let every threshold be the largest input of its activation."""

    def fit(neuron, args):
        neuron.threshold.data.copy_(args[0].max())

    handles = [m.register_forward_pre_hook(fit) for m in model.modules() if isinstance(m, QCFS)]
    run(model)
    for handle in handles:
        handle.remove()


def distances(scope, cfg, run):
    """How far the spiking network's outputs are from the quantised one's, for T of 8 and 64."""
    found = []
    for timesteps in (8, 64):
        quantised, spiking = pair(scope, cfg, timesteps)
        with torch.no_grad(), DefaultScope.overwrite_default_scope(scope):
            fit_thresholds(quantised, run)
            spiking.load_state_dict(quantised.state_dict())
            expected, out = flat(run(quantised)), flat(run(spiking))
        assert out.shape == expected.shape
        found.append(((out - expected).norm() / (expected - expected.mean()).norm()).item())
    return found


def flat(out):
    return torch.cat([x.flatten() for x in torch.utils._pytree.tree_leaves(out)])


def test_frozen_stages_stay_frozen():
    cfg = classifier('resnet')
    cfg['backbone'] = dict(cfg['backbone'], frozen_stages=1)
    model = build('QuantisedModel', 'mmpretrain', cfg, qcfs=dict(levels=4), train=True)
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    model.train()  # distributed training has looked before
    assert learned == {name for name, p in model.named_parameters() if p.requires_grad}
    assert 'backbone.layer2.0.relu.threshold' in learned
    assert 'backbone.layer1.0.relu.threshold' not in learned


def test_several_labels_are_left_to_the_head():
    from mmpretrain.structures import DataSample

    cfg = classifier('resnet')
    cfg['head'] = dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=64, thr=0.0)
    _, spiking = pair('mmpretrain', cfg, 12, scores_module='head', patience=3)
    with torch.no_grad():
        (sample, _) = spiking(images(32, 32), [DataSample(), DataSample()], mode='predict')
    assert sample.pred_label.tolist() == [0, 1, 2, 3]
    best = sample.scores_over_time[sample.exit_step - 1]
    torch.testing.assert_close(sample.pred_score, best.sigmoid())


def test_a_two_stage_detector_reads_out_at_its_neck():
    from mmdet.testing import demo_mm_inputs

    configs = Path(importlib.util.find_spec('mmdet').origin).parent / '.mim/configs'
    cfg = Config.fromfile(configs / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py').model
    cfg.backbone.update(depth=18, base_channels=8, stem_channels=8, init_cfg=None)
    cfg.neck.in_channels = [8, 16, 32, 64]
    cfg.host = cfg.pop('type')
    batch = demo_mm_inputs(1, [[3, 64, 64]])
    simulation = dict(timesteps=6, chunk=4)
    spiking = build('SpikingModel', 'mmdet', cfg, qcfs=dict(levels=8), simulation=simulation)
    with DefaultScope.overwrite_default_scope('mmdet'):
        message = r'rpn_head.* behind the read-out \(neck\)|roi_head.* behind the read-out \(neck\)'
        with pytest.raises(RuntimeError, match=message):
            spiking.test_step(batch)
        qcfs = dict(levels=8, exclude='roi_head')
        spiking = build('SpikingModel', 'mmdet', cfg, qcfs=qcfs, simulation=simulation)
        calls = dict.fromkeys(('backbone.conv1', 'neck', 'rpn_head', 'roi_head.bbox_head'), 0)
        for name in calls:

            def count(*args, name=name):
                calls[name] += 1

            spiking.get_submodule(name).register_forward_hook(count)
        (found,) = spiking.test_step(batch)
    assert 'bboxes' in found.pred_instances
    # Two chunks; what follows the neck runs once.
    assert calls == {'backbone.conv1': 2, 'neck': 2, 'rpn_head': 1, 'roi_head.bbox_head': 1}


def test_sliding_windows_are_refused():
    from mmseg.structures import SegDataSample

    cfg = dict(segmentor(), test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32)))
    cfg['data_preprocessor'] = dict(type='SegDataPreProcessor', size=(96, 96))
    _, spiking = pair('mmseg', cfg, 16)
    sample = SegDataSample(metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96)))
    batch = dict(inputs=[torch.zeros(3, 96, 96, dtype=torch.uint8)], data_samples=[sample])
    with (
        DefaultScope.overwrite_default_scope('mmseg'),
        pytest.raises(RuntimeError, match='sliding windows'),
    ):
        spiking.test_step(batch)


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_classifiers(name):
    x = images(32, 32)
    near, nearer = distances('mmpretrain', classifier(name), lambda model: model(x))
    # Swin's norms and softmax act on what comes at each step: their mean is not that of the mean.
    assert nearer < (near if name == 'swin' else 0.7 * near)
    assert nearer < 0.2


def test_detectors_raw_outputs():
    from mmdet.testing import demo_mm_inputs

    batch = demo_mm_inputs(2, [[3, 64, 96]] * 2, num_classes=3)

    def raw_outputs(model):
        outs = []
        hook = model.bbox_head.register_forward_hook(lambda head, args, out: outs.append(out))
        model.test_step(batch)
        hook.remove()
        return outs[-1]  # of the last chunk

    near, nearer = distances('mmdet', detector(), raw_outputs)
    assert nearer < 0.7 * near
    assert nearer < 0.2


def test_segmentors_raw_outputs():
    x = images(64, 64)
    near, nearer = distances('mmseg', segmentor(), lambda model: model(x))
    assert nearer < 0.7 * near
    assert nearer < 0.2


def test_a_readout_that_is_not_called():
    _, spiking = pair('mmdet', detector(), 8)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r'read-out \(bbox_head\) was not'):
        spiking(images(64, 96))  # mode='tensor' goes around the head's hooks


def test_a_detector_predicts_and_trains():
    from mmdet.testing import demo_mm_inputs

    batch = demo_mm_inputs(2, [[3, 64, 96]] * 2, num_classes=3)
    quantised, spiking = pair('mmdet', detector(), 16)
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = spiking.test_step(batch)
        assert len(found) == 2
        assert all(len(sample.pred_instances) for sample in found)
        quantised.train()
        data = quantised.data_preprocessor(batch, True)
        losses = quantised.loss(data['inputs'], data['data_samples'])
        sum(sum(x) if isinstance(x, list) else x for x in losses.values()).backward()
    thresholds = [m.threshold for m in quantised.modules() if isinstance(m, QCFS)]
    assert sum(t.grad is not None and bool(t.grad) for t in thresholds) > len(thresholds) / 2


def test_a_segmentor_predicts():
    from mmseg.structures import SegDataSample

    _, spiking = pair('mmseg', segmentor(), 16)
    sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)))
    batch = dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)], data_samples=[sample])
    with DefaultScope.overwrite_default_scope('mmseg'):
        (out,) = spiking.test_step(batch)
    assert out.pred_sem_seg.data.shape == (1, 64, 64)


def test_samples_carry_scores_over_time_and_an_early_answer():
    from mmpretrain.structures import DataSample

    _, spiking = pair('mmpretrain', classifier('resnet'), 40, scores_module='head', patience=4)
    samples = [DataSample().set_gt_label(0) for _ in range(2)]
    with torch.no_grad():
        out = spiking(images(32, 32), samples, mode='predict')
    for i, sample in enumerate(out):
        steps = len(sample.scores_over_time)
        assert sample.scores_over_time.shape == (steps, 4)
        assert 4 <= sample.exit_step <= steps
        assert torch.equal(sample.scores_over_time, spiking.simulation.scores[:, i])
        best = sample.scores_over_time[sample.exit_step - 1]
        assert sample.pred_label.item() == best.argmax()
        torch.testing.assert_close(sample.pred_score, best.softmax(0))


def test_all_activations_are_neurons():
    _, spiking = pair('mmpretrain', classifier('resnet'), 8)
    assert sum(isinstance(m, SpikingQCFS) for m in spiking.modules()) == 9
    assert not any(isinstance(m, nn.ReLU | QCFS) for m in spiking.modules())


def test_a_model_without_qcfs_is_not_converted():
    with pytest.raises(ValueError, match='no QCFS'):
        build('SpikingModel', 'mmpretrain', classifier('resnet'), simulation=dict(timesteps=4))
