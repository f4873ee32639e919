"""Detectors and segmentors on images and annotations that one does not think of."""

import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from support.paths import ROOT
from support.small_runs import small_config

MASK_RCNN, RETINANET, SEMANTIC_FPN = (
    next((ROOT / 'configs').glob(pattern))
    for pattern in (
        'detection/digit-scenes/mask-rcnn*.py',
        'detection/digit-scenes/retinanet*.py',
        'segmentation/digit-scenes/*.py',
    )
)
SIZES = [(1, 70), (70, 1), (1, 1), (37, 53), (96, 96)]


@pytest.fixture(scope='module')
def model_of(tmp_path_factory):
    models = {}

    def build(path):
        if path not in models:
            cfg = small_config(path, tmp_path_factory.mktemp(path.stem))
            init_default_scope(cfg.default_scope)
            torch.manual_seed(0)
            models[path] = MODELS.build(cfg.model)
        init_default_scope(models[path].data_preprocessor.__module__.split('.')[0])
        return models[path]

    return build


def scene(size, boxes, labels, ignored=0, empty_masks=False):
    """An image with objects; the last ``ignored`` of them are crowds."""
    height, width = size
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = np.zeros((len(boxes), height, width), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = not empty_masks
    objects = InstanceData(
        bboxes=boxes,
        labels=torch.as_tensor(labels, dtype=torch.int64),
        masks=BitmapMasks(masks, height, width),
    )
    counted = len(boxes) - ignored
    sample = DetDataSample(
        gt_instances=objects[:counted],
        ignored_instances=objects[counted:],
        metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), img_id=0),
    )
    return dict(inputs=torch.randint(0, 256, (3, *size), dtype=torch.uint8), data_samples=sample)


def batch_of(*items):
    return {key: [item[key] for item in items] for key in items[0]}


def losses_of(model, batch):
    model.train().zero_grad()
    loss, logs = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    loss.backward()
    for name, value in logs.items():
        assert value.isfinite().all(), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    return logs


def check_detections(model, batch):
    model.eval()
    for sample in model.test_step(batch):
        height, width = sample.ori_shape
        found = sample.pred_instances
        assert len(found) <= model.test_cfg.get('rcnn', model.test_cfg).max_per_img
        boxes = found.bboxes
        assert boxes.isfinite().all()
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        if 'masks' in found:
            assert found.masks.shape == (len(found), height, width)


def many_boxes(count, size):
    corners = torch.rand(count, 2) * (size - 10)
    return torch.cat([corners, corners + 2 + torch.rand(count, 2) * 8], dim=1)


@pytest.mark.parametrize('path', [MASK_RCNN, RETINANET], ids=['mask-rcnn', 'retinanet'])
class TestDetectors:
    @pytest.mark.parametrize('size', SIZES, ids=str)
    def test_image_sizes(self, model_of, path, size):
        height, width = size
        item = scene(size, [[0, 0, width, height]], [3])
        model = model_of(path)
        losses_of(model, batch_of(item))
        check_detections(model, batch_of(item))

    def test_sizes_may_be_mixed_in_a_batch(self, model_of, path):
        batch = batch_of(scene((33, 90), [[2, 2, 20, 20]], [0]), scene((80, 41), [], []))
        model = model_of(path)
        losses_of(model, batch)
        check_detections(model, batch)

    def test_no_object_means_no_box_loss(self, model_of, path):
        logs = losses_of(model_of(path), batch_of(scene((64, 64), [], []), scene((64, 64), [], [])))
        for name, value in logs.items():
            if 'bbox' in name or 'mask' in name:
                assert value == 0, name
        assert logs['loss'] > 0

    def test_300_objects(self, model_of, path):
        batch = batch_of(scene((96, 96), many_boxes(300, 96), torch.arange(300) % 10))
        model = model_of(path)
        assert losses_of(model, batch)['loss'] > 0
        check_detections(model, batch)

    def test_crowds_are_neither_objects_nor_background(self, model_of, path):
        boxes = [[0, 0, 96, 96]]
        logs = losses_of(model_of(path), batch_of(scene((96, 96), boxes, [0], ignored=1)))
        assert logs['loss_rpn_bbox' if 'loss_rpn_bbox' in logs else 'loss_bbox'] == 0


def test_empty_masks_are_learned_as_empty(model_of):
    logs = losses_of(model_of(MASK_RCNN), batch_of(scene((96, 96), [[10, 10, 60, 60]], [2],
                                                         empty_masks=True)))  # fmt: skip
    assert logs['loss_mask'] > 0


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('label', [4, 255], ids=['one class', 'all ignored'])
def test_segmentor_takes_any_size(model_of, size, label):
    model = model_of(SEMANTIC_FPN)
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.full((1, *size), label)),
        metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size),
    )
    batch = dict(inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8)],
                 data_samples=[sample])  # fmt: skip
    logs = losses_of(model, batch)
    assert (logs['decode.loss_ce'] == 0) == (label == 255)
    model.eval()
    (answer,) = model.test_step(batch)
    assert answer.pred_sem_seg.data.shape == (1, *size)
    assert answer.pred_sem_seg.data.max() < 11


@pytest.mark.slow
def test_dataset_with_crowds_an_empty_image_and_a_class_without_samples(tmp_path):
    cfg = small_config(MASK_RCNN, tmp_path)
    for subset in ('training', 'validation'):
        path = tmp_path / f'scenes/annotations/instances_{subset}.json'
        content = json.loads(path.read_text())
        empty = content['images'][0]['id']
        kept = [a for a in content['annotations'] if a['image_id'] != empty]
        kept = [a for a in kept if a['category_id'] != kept[-1]['category_id']] or kept
        kept[0]['iscrowd'] = 1
        content['annotations'] = kept
        path.write_text(json.dumps(content))
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.test()
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(metrics)
