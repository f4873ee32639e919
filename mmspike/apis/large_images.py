"""Detection on large images: tile by tile, with one set of boxes at the end."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmcv.ops import batched_nms
from mmengine.structures import InstanceData

from mmspike.datasets.tiles import Tile, tiles_of

# A box is cut where it ends so near, in pixels, to a border that goes through the image.
BORDER = 2


def detect_in_tiles(
    detect: Callable[[list[np.ndarray]], list[Any]],
    image: np.ndarray,
    size: int,
    overlap: int,
    *,
    batch_size: int = 4,
    iou: float = 0.5,
    on_tiles: Callable[[int, int], None] = lambda done, total: None,
) -> InstanceData:
    """Detect objects in overlapping tiles of an image.

    Boxes that end at a border between tiles are left out: they are parts of objects that a
    neighbour shows whole, as long as objects are smaller than the overlap. Of boxes of one class
    that cover each other, mmcv's NMS keeps the best one.

    Args:
        detect: Data samples of mmdet for a list of images.
        image: ``(H, W, 3)``, uint8, BGR.
        size, overlap: See :func:`~mmspike.datasets.tiles.tiles_of`.
        batch_size: Tiles of a call.
        iou: Above it, two boxes show the same object.
        on_tiles: Called with the number of tiles that are done, and of all.

    Returns:
        ``bboxes`` ``(N, 4)`` in pixels of the image, ``scores`` and ``labels``, the best first.

    Raises:
        ValueError: The overlap is not smaller than the tiles, or negative.
    """
    height, width = image.shape[:2]
    tiles = list(tiles_of(height, width, size, overlap))
    found: list[InstanceData] = []
    for begin in range(0, len(tiles), batch_size):
        batch = tiles[begin : begin + batch_size]
        samples = detect([tile.cut(image) for tile in batch])
        found += [
            _moved(sample.pred_instances, tile, height, width)
            for sample, tile in zip(samples, batch, strict=True)
        ]
        on_tiles(min(begin + batch_size, len(tiles)), len(tiles))
    boxes, scores, labels = (
        torch.cat([getattr(one, name) for one in found]) for name in ('bboxes', 'scores', 'labels')
    )
    if not len(boxes):  # which mmcv's NMS does not take
        return InstanceData(bboxes=boxes, scores=scores, labels=labels)
    _, kept = batched_nms(boxes, scores, labels, dict(type='nms', iou_threshold=iou))
    return InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept])


def _moved(found: InstanceData, tile: Tile, height: int, width: int) -> InstanceData:
    """Whole boxes of a tile, in pixels of the image."""
    whole = torch.ones(len(found.bboxes), dtype=torch.bool, device=found.bboxes.device)
    for ends, cut in _borders(found.bboxes, tile, height, width):
        whole &= ~(cut & ends)
    boxes = found.bboxes + found.bboxes.new_tensor([tile.left, tile.top] * 2)
    sides = boxes.new_tensor([width, height] * 2)
    return InstanceData(
        bboxes=boxes.clamp(min=torch.zeros_like(sides), max=sides)[whole],
        scores=found.scores[whole],
        labels=found.labels[whole],
    )


def _borders(
    boxes: torch.Tensor, tile: Tile, height: int, width: int
) -> Iterator[tuple[torch.Tensor, bool]]:
    """For each side of a tile, which boxes end there, and whether it goes through the image."""
    yield boxes[:, 0] < BORDER, tile.left > 0
    yield boxes[:, 1] < BORDER, tile.top > 0
    yield boxes[:, 2] > tile.size - BORDER, tile.left + tile.size < width
    yield boxes[:, 3] > tile.size - BORDER, tile.top + tile.size < height
