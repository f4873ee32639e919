"""Boxes of tiles become one set of boxes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmspike.apis.large_images import detect_in_tiles

# Bright squares on a dark image: left, top, side.
SQUARES = [(5, 5, 20), (90, 40, 20), (60, 100, 24), (170, 120, 20)]


def image():
    pixels = np.zeros((150, 200, 3), np.uint8)
    for left, top, side in SQUARES:
        pixels[top : top + side, left : left + side] = 255
    return pixels


def squares_of(tile):
    """What a perfect detector says of a tile: each bright part with its box."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(tile[..., 0])
    boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:]]
    number = len(boxes)
    return SimpleNamespace(
        pred_instances=InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            scores=torch.full((number,), 0.9),
            labels=torch.zeros(number, dtype=torch.int64),
        )
    )


@pytest.mark.parametrize(('size', 'overlap'), [(64, 32), (100, 40), (300, 0)])
def test_every_object_once_and_whole(size, overlap):
    calls, progress = [], []

    def detect(tiles):
        calls.append(len(tiles))
        return [squares_of(tile) for tile in tiles]

    found = detect_in_tiles(
        detect, image(), size, overlap, batch_size=3, on_tiles=lambda *done: progress.append(done)
    )
    boxes = sorted(found.bboxes.round().int().tolist())
    assert boxes == sorted([x, y, x + side, y + side] for x, y, side in SQUARES)
    assert max(calls) <= 3
    assert progress[-1] == (sum(calls), sum(calls))


def test_objects_of_two_classes_may_cover_each_other():
    def detect(tiles):
        both = torch.tensor([[10.0, 10, 30, 30], [10, 10, 30, 30]])
        found = InstanceData(
            bboxes=both, scores=torch.tensor([0.9, 0.8]), labels=torch.tensor([0, 1])
        )
        return [SimpleNamespace(pred_instances=found) for _ in tiles]

    found = detect_in_tiles(detect, np.zeros((50, 50, 3), np.uint8), 50, 0)
    assert sorted(found.labels.tolist()) == [0, 1]


def test_nothing_found():
    found = detect_in_tiles(
        lambda tiles: [squares_of(tile) for tile in tiles], np.zeros((90, 90, 3), np.uint8), 64, 8
    )
    assert found.bboxes.shape == (0, 4)


def test_bad_overlap():
    with pytest.raises(ValueError, match='overlap must be from 0 to below size=64'):
        detect_in_tiles(lambda tiles: [], image(), 64, 64)
