"""Trees on aerial photos, in COCO's layout, from the archive of deepforest.

Four photos of the National Ecological Observatory Network (NEON) with 951 boxes, drawn by hand:
B. Weinstein et al., DeepForest, Methods in Ecology and Evolution, 2020. Splits are by photo: no
tile of a photo is in two of them.
"""

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmspike.datasets.archives import Archive, ArchiveError, read_member
from mmspike.datasets.png_files import write_png
from mmspike.datasets.tiles import tiles_of
from mmspike.files import atomic_write

ARCHIVE = Archive(
    'deepforest',
    '2.1.0',
    'wheel',
    '8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54',
    'MIT (package); imagery of NEON',
)
# Of each split: photos without suffix, and how many boxes they have.
PHOTOS = {
    'train': {'2019_YELL_2_528000_4978000_image_crop2': 574},
    'val': {'2019_YELL_2_541000_4977000_image_crop': 279},
    'far': {'OSBS_029': 61, 'SOAP_061': 37},
}
CLASSES = ('tree',)


@dataclass(frozen=True)
class Photo:
    """A photo with its boxes.

    Attributes:
        name: Of its file.
        pixels: ``(H, W, 3)``, uint8, BGR.
        boxes: ``(N, 4)``, float64, ``(x1, y1, x2, y2)`` in pixels, inside the photo.
        dropped: Boxes that lay outside of it, or were empty.
    """

    name: str
    pixels: np.ndarray
    boxes: np.ndarray
    dropped: int


def read_photo(name: str, png: bytes, xml: bytes) -> Photo:
    """Read a photo and its boxes in VOC's format.

    Raises:
        ArchiveError: One of them cannot be read, or they do not belong together.
    """
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ArchiveError(f'{name}.png cannot be read as an image')
    height, width = pixels.shape[:2]
    try:
        root = ElementTree.fromstring(xml)
        sides = tuple(int(root.findtext(f'size/{side}', '')) for side in ('height', 'width'))
        corners = [
            [float(one.findtext(f'bndbox/{key}', '')) for key in ('xmin', 'ymin', 'xmax', 'ymax')]
            for one in root.iter('object')
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise ArchiveError(f'{name}.xml cannot be read as boxes: {error}') from error
    if sides != (height, width):
        raise ArchiveError(
            f'{name}.xml is of an image of {sides[1]}x{sides[0]} pixels, {name}.png has '
            f'{width}x{height}'
        )
    boxes = np.clip(np.array(corners).reshape(-1, 4), 0, [width, height, width, height])
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Photo(name, pixels, boxes[kept], int((~kept).sum()))


def write_trees(
    folder: str | os.PathLike,
    archive: Path,
    *,
    size: int = 256,
    overlap: int = 64,
    visible: float = 0.4,
    on_photo: Callable[[str], None] = lambda name: None,
) -> dict[str, dict[str, int]]:
    """Write tiles and annotations; ``annotations/<split>.json``, ``images/<split>/*.png``.

    ``photos`` has the photos as they are, and ``annotations/<split>_photos.json`` their boxes.
    After an interruption, call it again.

    Args:
        folder: Where to write.
        archive: The wheel.
        size, overlap: Of tiles, see :func:`~mmspike.datasets.tiles.tiles_of`.
        visible: The least share of a box that a tile must show.
        on_photo: Called before each photo.

    Returns:
        Of each split the numbers of photos, boxes, tiles, boxes in tiles and dropped boxes.

    Raises:
        ArchiveError: The archive has other content than is known.
    """
    folder, summary = Path(folder), {}
    for split, names in PHOTOS.items():
        tiled, whole = _coco(), _coco()
        counts = dict(photos=0, boxes=0, tiles=0, boxes_in_tiles=0, dropped=0)
        for name, expected in names.items():
            on_photo(name)
            files = (
                read_member(archive, f'deepforest/data/{name}.{end}') for end in ('png', 'xml')
            )
            photo = read_photo(name, *files)
            if len(photo.boxes) + photo.dropped != expected:
                raise ArchiveError(f'{name} has {len(photo.boxes)} boxes, not {expected}')
            write_png(folder / 'photos' / f'{name}.png', photo.pixels)
            _add(whole, f'{name}.png', photo.pixels.shape, photo.boxes)
            height, width = photo.pixels.shape[:2]
            for tile in tiles_of(height, width, size, overlap):
                file = f'{name}_{tile.left}_{tile.top}.png'
                pixels = tile.cut(photo.pixels)
                write_png(folder / 'images' / split / file, pixels)
                _add(tiled, file, pixels.shape, tile.boxes(photo.boxes, visible)[0])
            counts['photos'] += 1
            counts['boxes'] += len(photo.boxes)
            counts['dropped'] += photo.dropped
        counts['tiles'], counts['boxes_in_tiles'] = (
            len(tiled['images']), len(tiled['annotations']),
        )  # fmt: skip
        for part, content in ((split, tiled), (f'{split}_photos', whole)):
            with atomic_write(folder / 'annotations' / f'{part}.json') as target:
                target.write(json.dumps(content).encode())
        summary[split] = counts
    return summary


def _coco() -> dict:
    return dict(images=[], annotations=[], categories=[dict(id=1, name=CLASSES[0])])


def _add(coco: dict, file: str, shape: tuple[int, ...], boxes: np.ndarray) -> None:
    number = len(coco['images']) + 1
    coco['images'].append(dict(id=number, file_name=file, height=shape[0], width=shape[1]))
    for x1, y1, x2, y2 in boxes.tolist():
        width, height = x2 - x1, y2 - y1
        coco['annotations'].append(
            dict(id=len(coco['annotations']) + 1, image_id=number, category_id=1, iscrowd=0,
                 bbox=[x1, y1, width, height], area=width * height)
        )  # fmt: skip
