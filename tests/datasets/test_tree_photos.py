"""Trees in COCO's layout, from an archive that the test writes."""

import json
import zipfile

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmspike.datasets import tree_photos
from mmspike.datasets.archives import ArchiveError
from mmspike.datasets.tree_photos import read_photo, write_trees

SIDES = {'a': (300, 500), 'b': (256, 256), 'c': (100, 90)}
BOXES = {
    'a': [(10, 10, 50, 60), (200, 200, 260, 250), (-20, 5, 30, 30), (600, 10, 620, 30)],
    'b': [(1, 2, 40, 50)],
    'c': [],
}

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def png(name):
    height, width = SIDES[name]
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.imencode('.png', noise)[1].tobytes()


def xml(name, sides=None):
    height, width = sides or SIDES[name]
    objects = ''.join(
        '<object><name>Tree</name><bndbox>'
        + ''.join(
            f'<{k}>{v}</{k}>' for k, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), b, strict=True)
        )
        + '</bndbox></object>'
        for b in BOXES[name]
    )
    size = f'<size><width>{width}</width><height>{height}</height></size>'
    return f'<annotation>{size}{objects}</annotation>'.encode()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    splits = dict(train={'a': 4}, val={'b': 1}, far={'c': 0})
    monkeypatch.setattr(tree_photos, 'PHOTOS', splits)
    path = tmp_path / 'trees.whl'
    with zipfile.ZipFile(path, 'w') as file:
        for name in SIDES:
            file.writestr(f'deepforest/data/{name}.png', png(name))
            file.writestr(f'deepforest/data/{name}.xml', xml(name))
    return path


def test_boxes_outside_of_the_photo_are_cut_or_counted():
    photo = read_photo('a', png('a'), xml('a'))
    assert photo.dropped == 1
    assert photo.boxes.tolist() == [[10, 10, 50, 60], [200, 200, 260, 250], [0, 5, 30, 30]]


def test_what_is_written(archive, tmp_path):
    found = write_trees(tmp_path / 'out', archive)
    assert found['train'] == dict(photos=1, boxes=3, tiles=6, boxes_in_tiles=6, dropped=1)
    assert found['far'] == dict(photos=1, boxes=0, tiles=1, boxes_in_tiles=0, dropped=0)
    content = json.loads((tmp_path / 'out/annotations/train.json').read_text())
    assert len(content['images']) == 6
    for image in content['images']:
        assert cv2.imread(str(tmp_path / 'out/images/train' / image['file_name'])).shape == (
            256, 256, 3,
        )  # fmt: skip
    for one in content['annotations']:
        x, y, width, height = one['bbox']
        assert min(x, y) >= 0
        assert max(x + width, y + height) <= 256
        assert one['area'] == width * height > 0
    whole = json.loads((tmp_path / 'out/annotations/train_photos.json').read_text())
    assert next(one['bbox'] for one in whole['annotations']) == [10, 10, 40, 50]


def test_again_after_an_interruption(archive, tmp_path):
    first = write_trees(tmp_path / 'out', archive)
    lost = next((tmp_path / 'out/images/train').iterdir())
    before = lost.read_bytes()
    lost.unlink()
    assert write_trees(tmp_path / 'out', archive) == first
    assert lost.read_bytes() == before


def test_again_with_other_tiles(archive, tmp_path):
    """Tiles of two sizes have the same names where they begin at the same place."""
    write_trees(tmp_path / 'out', archive)
    write_trees(tmp_path / 'out', archive, size=128, overlap=0)
    for image in json.loads((tmp_path / 'out/annotations/train.json').read_text())['images']:
        pixels = cv2.imread(str(tmp_path / 'out/images/train' / image['file_name']))
        assert pixels.shape[:2] == (image['height'], image['width']) == (128, 128)


def test_mmdet_reads_it(archive, tmp_path):
    write_trees(tmp_path / 'out', archive)
    init_default_scope('mmdet')
    from mmdet.registry import DATASETS

    options = dict(type='mmspike.CocoDataset', metainfo=dict(classes=tree_photos.CLASSES))
    dataset = DATASETS.build(
        dict(options, data_root=str(tmp_path / 'out'), ann_file='annotations/train.json',
             data_prefix=dict(img='images/train/'), filter_cfg=dict(filter_empty_gt=True))
    )  # fmt: skip
    assert sum(len(sample['instances']) for sample in dataset.load_data_list()) == 6


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(png=b'nothing'), 'a.png cannot be read as an image'),
        (dict(xml=b'<annotation><object>'), 'a.xml cannot be read as boxes'),
        (dict(xml=xml('a', (1, 2))), 'is of an image of 2x1 pixels, a.png has 500x300'),
    ],
)
def test_bad_photos(change, message):
    files = dict(dict(png=png('a'), xml=xml('a')), **change)
    with pytest.raises(ArchiveError, match=message):
        read_photo('a', **files)


def test_another_number_of_boxes(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(tree_photos, 'PHOTOS', dict(train={'a': 5}))
    with pytest.raises(ArchiveError, match='a has 3 boxes, not 5'):
        write_trees(tmp_path / 'out', archive)
