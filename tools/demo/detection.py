"""Find and outline digits in scenes."""

from pathlib import Path

import mmcv
import numpy as np
import torch
from common import Evaluation
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from scenes import SHOWN, SceneTask, grid

from mmspike.visualization.scene_plots import Objects, class_colours, draw_objects

SCORE_THRESHOLD = 0.5
# Boxes that differ by less, in pixels, are equal.
SAME_BOX = 0.5


class Detection(SceneTask):
    """Boxes and outlines of the digits in a scene."""

    title = 'detection'
    config = (
        'configs/detection/digit-scenes/'
        'mask-rcnn_metaspikformer-digits-sfa-t1d4_fpn_1xb4-4e_digit-scenes.py'
    )
    scope = 'mmdet'
    metrics = {
        'box AP': ('coco/bbox_mAP', 100),
        'box AP50': ('coco/bbox_mAP_50', 100),
        'mask AP': ('coco/segm_mAP', 100),
    }
    unit_seconds = 70.0
    evaluation_seconds = 60.0

    def same(self, one: DetDataSample, other: DetDataSample) -> bool:
        a, b = (x.pred_instances[x.pred_instances.scores > SCORE_THRESHOLD] for x in (one, other))
        return (
            len(a) == len(b)
            and torch.equal(a.labels, b.labels)
            and torch.allclose(a.bboxes, b.bboxes, rtol=0, atol=SAME_BOX)
        )

    def draw(self, evaluation: Evaluation) -> list[Path]:
        names = evaluation.runner.test_dataloader.dataset.metainfo['classes']
        colours = class_colours(len(names))
        found = f'found, score above {SCORE_THRESHOLD:g}'
        figure, axes = grid(['scene', 'truth', found], names, colours)
        for column, sample in zip(axes.T, evaluation.samples[:SHOWN], strict=False):
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            column[0].imshow(image)
            answers = sample.pred_instances
            for one, objects in zip(
                column[1:],
                (sample.gt_instances, answers[answers.scores > SCORE_THRESHOLD]),
                strict=True,
            ):
                draw_objects(one, image, as_objects(objects), colours, names)
        return [self.save(figure, 'scenes.png')]


def as_objects(objects: InstanceData) -> Objects:
    """The results of mmdet for N objects, as arrays."""
    masks = objects.masks
    return Objects(
        boxes=np.asarray(getattr(objects.bboxes, 'tensor', objects.bboxes)),
        labels=np.asarray(objects.labels),
        masks=(masks.masks if hasattr(masks, 'masks') else masks.cpu().numpy()).astype(bool),
        scores=np.asarray(objects.scores) if 'scores' in objects else None,
    )
