"""Label scenes of digits pixel by pixel."""

from pathlib import Path

import mmcv
import numpy as np
from common import Evaluation
from mmseg.structures import SegDataSample
from scenes import SHOWN, SceneTask, grid

OPACITY = 0.7
# Maps that agree in this share of their pixels are the same.
SAME_MAP = 0.999


class Segmentation(SceneTask):
    """The digit that every pixel of a scene belongs to."""

    title = 'segmentation'
    config = (
        'configs/segmentation/digit-scenes/'
        'semantic-fpn_metaspikformer-digits-sfa-t1d4_1xb8-1500_digit-scenes.py'
    )
    scope = 'mmseg'
    metrics = {'mIoU': ('mIoU', 1)}

    def same(self, one: SegDataSample, other: SegDataSample) -> bool:
        equal = one.pred_sem_seg.data == other.pred_sem_seg.data
        return equal.float().mean().item() >= SAME_MAP

    def draw(self, evaluation: Evaluation) -> list[Path]:
        self.report_rates(evaluation)
        palette = np.array(evaluation.runner.test_dataloader.dataset.metainfo['palette'])
        figure, axes = grid(['scene', 'truth', 'predicted'])
        for column, sample in zip(axes.T, evaluation.samples[:SHOWN], strict=False):
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            column[0].imshow(image)
            for one, labels in zip(
                column[1:], (sample.gt_sem_seg.data, sample.pred_sem_seg.data), strict=True
            ):
                one.imshow(overlay(image, labels[0].cpu().numpy(), palette))
        return [self.save(figure, 'scenes.png')]


def overlay(image: np.ndarray, labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The classes' colours over an image ``(H, W, 3)``, which turns grey for them to be seen."""
    grey = image.mean(axis=-1, keepdims=True)
    known = labels < len(palette)
    colours = palette[np.where(known, labels, 0)]
    mixed = grey * (1 - OPACITY) + colours * OPACITY
    return np.where(known[..., None], mixed, grey).astype(np.uint8)
