import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmspike.datasets.handwritten_digits import HandwrittenDigits
from mmspike.datasets.transforms.load_image import LoadImage
from support.small_runs import CONFIGS, DIGITS

# A pre-training has no test pipeline.
IN_MEMORY = [
    path
    for path in CONFIGS
    if path.stem.endswith(('_digits', '_cifar10', '_cifar100')) and path.parent.name != 'smae'
]


@pytest.fixture
def file(tmp_path):
    """A blue image."""
    path = tmp_path / 'blue.png'
    cv2.imwrite(str(path), np.full((40, 48, 3), (200, 0, 0), np.uint8))
    return str(path)


def test_a_file_is_read_and_an_image_passes(file):
    read = LoadImage()(dict(img_path=file))
    assert read['img'].shape == (40, 48, 3)
    assert read['img'][0, 0].tolist() == [200, 0, 0]
    assert LoadImage(rgb=True)(dict(img_path=file))['img'][0, 0].tolist() == [0, 0, 200]
    image = np.zeros((2, 2, 3), np.uint8)
    assert LoadImage(rgb=True)(dict(img=image, img_path=file))['img'] is image


@pytest.mark.parametrize('path', IN_MEMORY, ids=lambda path: path.stem)
def test_test_pipelines_take_a_file(path, file):
    cfg = Config.fromfile(path)
    init_default_scope('mmpretrain')
    from mmpretrain.registry import TRANSFORMS

    steps = cfg.test_dataloader.dataset.pipeline
    packed = Compose([TRANSFORMS.build(step) for step in steps])(dict(img_path=file))
    assert packed['inputs'].shape[0] == 3


def test_digits_are_what_they_were():
    init_default_scope('mmpretrain')
    steps = Config.fromfile(DIGITS).test_dataloader.dataset.pipeline
    with_it = HandwrittenDigits('test', pipeline=steps)[7]['inputs']
    without = HandwrittenDigits('test', pipeline=steps[1:])[7]['inputs']
    assert (with_it == without).all()
