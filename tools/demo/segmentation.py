"""Label scenes of digits pixel by pixel."""

from pathlib import Path

import mmcv
from common import Evaluation
from mmseg.structures import SegDataSample
from scenes import SHOWN, SceneTask, grid

from mmspike.visualization.scene_plots import class_colours, draw_label_map

# Maps that agree in this share of their pixels are equal.
SAME_MAP = 0.999


class Segmentation(SceneTask):
    """Label each pixel of a scene with its digit."""

    title = 'segmentation'
    config = (
        'configs/segmentation/digit-scenes/'
        'semantic-fpn_metaspikformer-digits-sfa-t1d4_1xb8-1500_digit-scenes.py'
    )
    scope = 'mmseg'
    metrics = {'mIoU': ('mIoU', 1)}
    unit_seconds = 0.37
    evaluation_seconds = 40.0

    def same(self, one: SegDataSample, other: SegDataSample) -> bool:
        equal = one.pred_sem_seg.data == other.pred_sem_seg.data
        return equal.float().mean().item() >= SAME_MAP

    def draw(self, evaluation: Evaluation) -> list[Path]:
        names = evaluation.runner.test_dataloader.dataset.metainfo['classes']
        # The background is no digit: there the image stays visible.
        ground = names.index('background')
        digits = [name for name in names if name != 'background']
        colours = class_colours(len(digits))
        figure, axes = grid(['scene', 'truth', 'predicted'], digits, colours)
        colours.insert(ground, (0.0, 0.0, 0.0))
        for column, sample in zip(axes.T, evaluation.samples[:SHOWN], strict=False):
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            column[0].imshow(image)
            for one, labels in zip(
                column[1:], (sample.gt_sem_seg.data, sample.pred_sem_seg.data), strict=True
            ):
                draw_label_map(one, image, labels[0].cpu().numpy(), colours, names, (ground,))
        return [self.save(figure, 'scenes.png')]
