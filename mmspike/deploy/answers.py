"""The answers of a model to its test data, to be compared with another's."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

# Boxes of one object differ by less than this, in pixels, and count from this score on.
NEAR, SCORE = 2.0, 0.3


class Answers(BaseMetric):
    """A metric that measures nothing and keeps the answers.

    An answer is a class of mmpretrain, the label map of mmseg, or the boxes of mmdet that score at
    least 0.3.
    """

    default_prefix = 'answers'  # of nothing; mmengine warns where there is none

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        self.results += map(_answer, data_samples)

    def compute_metrics(self, results: list) -> dict:
        self.kept = results
        return {}

    def equal_to(self, other: 'Answers') -> tuple[int, int]:
        """Number of equal answers, and of all: pixels of mmseg, else images."""
        pairs = list(zip(self.kept, other.kept, strict=True))
        counts = [_equal(mine, theirs) for mine, theirs in pairs]
        return sum(equal for equal, _ in counts), sum(total for _, total in counts)


def _answer(sample: dict) -> Any:
    if 'pred_label' in sample:
        return sample['pred_label'].cpu()
    if 'pred_sem_seg' in sample:
        labels = sample['pred_sem_seg']['data'].cpu()
        return labels.to(torch.uint8 if labels.max() < 256 else torch.int16)  # all are kept
    found = sample['pred_instances']
    kept = found['scores'] >= SCORE
    return found['labels'][kept].cpu(), found['bboxes'][kept].cpu()


def _equal(mine: Any, theirs: Any) -> tuple[int, int]:
    if not isinstance(mine, tuple):
        same = mine == theirs
        return int(same.sum()), same.numel()
    (labels, boxes), (other_labels, other_boxes) = mine, theirs
    if len(labels) != len(other_labels):
        return 0, 1
    # By place: equal scores may come in another order.
    gaps = (boxes[:, None] - other_boxes[None]).abs().amax(-1)
    gaps = gaps.masked_fill(labels[:, None] != other_labels[None], torch.inf)
    near = gaps <= NEAR
    return int(bool(near.any(1).all() and near.any(0).all())), 1
