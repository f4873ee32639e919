"""Nuclei in COCO's and ADE20K's layout, from an archive that the test writes."""

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from mmspike.datasets import nuclei
from mmspike.datasets.archives import ArchiveError
from mmspike.datasets.nuclei import read_nuclei, write_nuclei


def tif(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, 'tiff')
    return file.getvalue()


NUMBERS = np.zeros((128, 256), np.uint16)
NUMBERS[10:20, 10:30] = 1
NUMBERS[50:70, 120:140] = 2  # over the middle: a part in each half
NUMBERS[100:110, 200:220] = 3
NUMBERS[0, 0] = 4  # a single pixel
PIXELS = (NUMBERS > 0).astype(np.uint16) * 900 + 100


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(nuclei, 'NUCLEI', 4)
    path = tmp_path / 'nuclei.whl'
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('stardist/data/images/img2d.tif', tif(PIXELS))
        file.writestr('stardist/data/images/mask2d.tif', tif(NUMBERS))
    return path


def test_brightness():
    pixels, numbers = read_nuclei(tif(PIXELS), tif(NUMBERS))
    assert pixels.dtype == np.uint8
    assert set(np.unique(pixels)) == {0, 255}
    assert numbers.max() == 4


def test_what_is_written(archive, tmp_path):
    found = write_nuclei(tmp_path / 'out', archive)
    assert found == dict(
        training=dict(nuclei=3, tiles=1, nuclei_in_tiles=2),
        validation=dict(nuclei=2, tiles=1, nuclei_in_tiles=2),
    )
    content = json.loads((tmp_path / 'out/annotations/instances_training.json').read_text())
    first, second = (rle.decode(one['segmentation']).astype(bool) for one in content['annotations'])
    assert np.array_equal(first, NUMBERS[:, :128] == 1)
    assert np.array_equal(second, NUMBERS[:, :128] == 2)
    assert content['annotations'][0]['bbox'] == [10, 10, 20, 10]
    assert content['annotations'][0]['area'] == 200
    name = content['images'][0]['file_name']
    classes = cv2.imread(str(tmp_path / 'out/annotations/training' / name), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(classes, np.where(first | second, nuclei.NUCLEUS, nuclei.BACKGROUND))


@pytest.mark.parametrize(
    ('image', 'masks', 'message'),
    [
        (b'nothing', tif(NUMBERS), 'cannot be read'),
        (tif(PIXELS[:9]), tif(NUMBERS), 'do not belong together'),
    ],
)
def test_bad_files(image, masks, message):
    with pytest.raises(ArchiveError, match=message):
        read_nuclei(image, masks)


def test_another_number_of_nuclei(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(nuclei, 'NUCLEI', 125)
    with pytest.raises(ArchiveError, match='has 4 nuclei, not 125'):
        write_nuclei(tmp_path / 'out', archive)
