"""Find and outline digits in scenes."""

from pathlib import Path

import matplotlib
import mmcv
import numpy as np
import torch
from common import Evaluation
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from scenes import SHOWN, SceneTask, grid

SCORE_THRESHOLD = 0.5
# Boxes that differ by less, in pixels, are the same.
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

    def same(self, one: DetDataSample, other: DetDataSample) -> bool:
        a, b = (x.pred_instances[x.pred_instances.scores > SCORE_THRESHOLD] for x in (one, other))
        return (
            len(a) == len(b)
            and torch.equal(a.labels, b.labels)
            and torch.allclose(a.bboxes, b.bboxes, rtol=0, atol=SAME_BOX)
        )

    def draw(self, evaluation: Evaluation) -> list[Path]:
        self.report_rates(evaluation)
        classes = evaluation.runner.test_dataloader.dataset.metainfo['classes']
        figure, axes = grid(['truth', f'score above {SCORE_THRESHOLD:g}'])
        for column, sample in zip(axes.T, evaluation.samples[:SHOWN], strict=False):
            found = sample.pred_instances
            for one, objects in zip(
                column, (sample.gt_instances, found[found.scores > SCORE_THRESHOLD]), strict=True
            ):
                one.imshow(mmcv.imread(sample.img_path, channel_order='rgb'))
                draw_objects(one, objects, classes)
        return [self.save(figure, 'scenes.png')]


def draw_objects(axes: Axes, objects: InstanceData, classes: tuple[str, ...]) -> None:
    """Translucent mask, box and class of each object, in the class's colour."""
    boxes = np.asarray(getattr(objects.bboxes, 'tensor', objects.bboxes))
    masks = objects.masks
    masks = masks.masks if hasattr(masks, 'masks') else masks.cpu().numpy()
    for (x1, y1, x2, y2), mask, label in zip(boxes, masks, objects.labels.tolist(), strict=True):
        colour = matplotlib.colormaps['tab10'](label)
        axes.imshow(mask[..., None] * np.array([*colour[:3], 0.5]))
        # imshow puts the middle of a pixel at whole numbers, a box its edge.
        axes.add_patch(
            Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=colour)
        )
        axes.text(
            x1 - 0.5, y1 - 0.5, classes[label], color='white', fontsize=8, fontweight='bold',
            verticalalignment='top', bbox=dict(facecolor=colour, edgecolor='none', pad=1),
        )  # fmt: skip
