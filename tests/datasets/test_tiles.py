"""Tiles cover a photo, and boxes move with them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmspike.datasets.tiles import Tile, tiles_of


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 128), st.data())
def test_every_pixel_is_in_a_tile(height, width, size, data):
    overlap = data.draw(st.integers(0, size - 4))
    seen = np.zeros((height, width), dtype=int)
    tiles = list(tiles_of(height, width, size, overlap))
    for tile in tiles:
        assert tile.left + size <= max(width, size)
        assert tile.top + size <= max(height, size)
        seen[tile.top : tile.top + size, tile.left : tile.left + size] += 1
    assert seen.all()
    lefts = sorted({tile.left for tile in tiles})
    assert all(b - a <= size - overlap for a, b in pairwise(lefts))


def test_a_small_photo_is_padded():
    (tile,) = tiles_of(3, 5, 8, 2)
    part = tile.cut(np.ones((3, 5, 3), np.uint8))
    assert part.shape == (8, 8, 3)
    assert part.sum() == 45


def test_boxes():
    tile = Tile(left=10, top=20, size=10)
    boxes = np.array([
        [10.0, 20.0, 20.0, 30.0],  # all of the tile
        [5.0, 22.0, 15.0, 26.0],  # half inside
        [0.0, 22.0, 12.0, 26.0],  # a sixth
        [30.0, 30.0, 40.0, 40.0],  # outside
    ])  # fmt: skip
    inside, kept = tile.boxes(boxes, visible=0.4)
    assert kept.tolist() == [0, 1]
    assert inside.tolist() == [[0, 0, 10, 10], [0, 2, 5, 6]]


@pytest.mark.parametrize('overlap', [-1, 8, 9])
def test_bad_overlaps(overlap):
    with pytest.raises(ValueError, match=f'from 0 to below size=8, got {overlap}'):
        list(tiles_of(9, 9, 8, overlap))
