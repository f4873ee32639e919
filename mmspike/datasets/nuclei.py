"""Nuclei of cells in COCO's and ADE20K's layout, from the archive of stardist.

One fluorescence image of 512x512 pixels with 125 nuclei, each with its mask: U. Schmidt et al.,
Cell Detection with Star-convex Polygons, MICCAI 2018. Its left half is for training, the right one
for validation. This is little: results need several seeds, and say nothing of other microscopes.
"""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as rle

from mmspike.datasets.archives import Archive, ArchiveError, read_member
from mmspike.datasets.png_files import write_png
from mmspike.datasets.tiles import Tile, tiles_of
from mmspike.files import atomic_write

ARCHIVE = Archive(
    'stardist',
    '0.9.2',
    'wheel',
    '2316c0feb7bd5621e7a277cb3868df475c338943c591925c420ee3622c42f023',
    'BSD-3-Clause',
)
NUCLEI = 125
CLASSES = ('nucleus',)
# Values of a label map; 0 would mean unlabelled.
BACKGROUND, NUCLEUS = 1, 2
SPLITS = ('training', 'validation')


def read_nuclei(image: bytes, masks: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The image ``(H, W)``, uint8, and the number of the nucleus of each pixel, 0 for none.

    Brightness goes from the first to the last percentile of the image.

    Raises:
        ArchiveError: They cannot be read, or do not belong together.
    """
    try:
        pixels, numbers = (np.array(Image.open(io.BytesIO(x))) for x in (image, masks))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise ArchiveError(f'the image or its masks cannot be read: {error}') from error
    if pixels.shape != numbers.shape or pixels.ndim != 2:
        raise ArchiveError(
            f'an image {pixels.shape} and masks {numbers.shape} do not belong together'
        )
    low, high = np.percentile(pixels, [1, 99])
    bright = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
    return np.round(255 * bright).astype(np.uint8), numbers.astype(np.int64)


def write_nuclei(
    folder: str | os.PathLike,
    archive: Path,
    *,
    size: int = 128,
    overlap: int = 64,
    least_pixels: int = 12,
) -> dict[str, dict[str, int]]:
    """Write tiles, ``annotations/instances_<split>.json``, and label maps by their side.

    Args:
        folder: Where to write.
        archive: The wheel.
        size, overlap: Of tiles, see :func:`~mmspike.datasets.tiles.tiles_of`.
        least_pixels: A nucleus of which a tile shows less is none there, but background.

    Returns:
        Of each split the numbers of nuclei, tiles and nuclei in tiles.

    Raises:
        ArchiveError: The archive has other content than is known.
    """
    pixels, numbers = read_nuclei(
        *(read_member(archive, f'stardist/data/images/{name}2d.tif') for name in ('img', 'mask'))
    )
    found = len(np.unique(numbers[numbers > 0]))
    if found != NUCLEI:
        raise ArchiveError(f'the image has {found} nuclei, not {NUCLEI}')
    folder, middle = Path(folder), pixels.shape[1] // 2
    halves = {SPLITS[0]: slice(0, middle), SPLITS[1]: slice(middle, None)}
    return {
        split: _write_half(folder, split, pixels[:, columns], numbers[:, columns], size, overlap,
                           least_pixels)
        for split, columns in halves.items()
    }  # fmt: skip


def _write_half(
    folder: Path, split: str, pixels: np.ndarray, numbers: np.ndarray, size: int, overlap: int,
    least_pixels: int,
) -> dict[str, int]:  # fmt: skip
    coco: dict[str, list] = dict(
        images=[], annotations=[], categories=[dict(id=1, name=CLASSES[0])]
    )
    height, width = pixels.shape
    for tile in tiles_of(height, width, size, overlap):
        name = f'nuclei_{tile.left}_{tile.top}.png'
        masks = list(_masks(tile, numbers, least_pixels))
        classes = np.full((size, size), BACKGROUND, np.uint8)
        coco['images'].append(
            dict(id=len(coco['images']) + 1, file_name=name, height=size, width=size)
        )
        for mask in masks:
            classes[mask] = NUCLEUS
            coco['annotations'].append(_annotation(mask, coco))
        write_png(folder / 'images' / split / name, tile.cut(pixels))
        write_png(folder / 'annotations' / split / name, classes)
    with atomic_write(folder / 'annotations' / f'instances_{split}.json') as target:
        target.write(json.dumps(coco).encode())
    return dict(
        nuclei=len(np.unique(numbers[numbers > 0])),
        tiles=len(coco['images']),
        nuclei_in_tiles=len(coco['annotations']),
    )


def _masks(tile: Tile, numbers: np.ndarray, least_pixels: int) -> Iterator[np.ndarray]:
    part = tile.cut(numbers)
    for number in np.unique(part[part > 0]):
        mask = part == number
        if mask.sum() >= least_pixels:
            yield mask


def _annotation(mask: np.ndarray, coco: dict) -> dict[str, Any]:
    encoded = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(
        id=len(coco['annotations']) + 1,
        image_id=len(coco['images']),
        category_id=1,
        iscrowd=0,
        bbox=rle.toBbox(encoded).tolist(),
        area=int(mask.sum()),
        segmentation=dict(size=encoded['size'], counts=encoded['counts'].decode()),
    )
