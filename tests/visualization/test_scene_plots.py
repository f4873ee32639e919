import cv2
import matplotlib
import numpy as np
import pytest
from mmengine.config import Config

matplotlib.use('Agg')

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

from mmspike.visualization import scene_plots
from mmspike.visualization.scene_plots import Objects
from support.paths import ROOT

# Machado, Oliveira and Fernandes 2009: linear RGB as seen without one kind of cones.
BLIND = {
    'all cones': np.eye(3),
    'no red cones': [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                     [-0.003882, -0.048116, 1.051998]],
    'no green cones': [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                       [-0.011820, 0.042940, 0.968881]],
    'no blue cones': [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                      [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def as_seen(colours, cones):
    """CIE Lab of colours ``(N, 3)`` by OpenCV."""
    colours = np.asarray(colours)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(BLIND[cones]).T, 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]


def least_difference(colours, cones):
    lab = as_seen(colours, cones)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return distance[np.triu_indices(len(lab), 1)].min()


@pytest.mark.parametrize('cones', BLIND)
def test_classes_differ_for_all_eyes(cones):
    assert least_difference(scene_plots.PALETTE, cones) > 24
    # The usual colours fail here: the measure is none that anything passes.
    usual = matplotlib.colormaps['tab10'].colors
    assert (least_difference(usual, cones) > 24) == (cones == 'all cones')


def test_scenes_have_these_colours():
    whole = [[round(255 * value) for value in colour] for colour in scene_plots.PALETTE]
    for name, number in (('digit-scenes_coco.py', 10), ('digit-scenes_ade20k.py', 11)):
        metainfo = Config.fromfile(ROOT / 'configs/_base_/datasets' / name).metainfo
        assert len(metainfo.palette) == len(metainfo.classes) == number
        assert [list(colour) for colour in metainfo.palette[-10:]] == whole


def test_colours_of_many_classes_and_of_palettes():
    assert scene_plots.class_colours(3) == [to_rgb(c) for c in ('#0099ff', '#ff6600', '#99ff00')]
    many = scene_plots.class_colours(80)
    assert len(many) == 80
    assert len(set(many)) == 80
    assert scene_plots.class_colours(2, [[255, 0, 51], [0, 0, 0]]) == [(1, 0, 0.2), (0, 0, 0)]
    assert scene_plots.class_colours(2, 'random') == scene_plots.class_colours(2)


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


@pytest.fixture
def axes():
    figure = plt.figure(figsize=(4, 4), dpi=100)
    yield figure.add_axes((0, 0, 1, 1), frameon=False)
    plt.close(figure)


def test_objects_are_outlined_and_not_filled(axes):
    image = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((1, 40, 40), bool)
    mask[0, 10:30, 10:30] = True
    objects = Objects(np.array([[10, 10, 30, 30]]), np.array([1]), mask, np.array([0.876]))
    scene_plots.draw_objects(axes, image, objects, [(0, 0, 1), (1, 0, 0)], ['cat', 'dog'])
    assert [text.get_text() for text in axes.texts] == ['dog 0.88']
    drawn = pixels(axes.figure)
    # A pixel of the image is 10 of the picture. The outline goes through the first of the mask,
    reddest = max(drawn[200, 95:115].astype(int), key=lambda rgb: rgb[0] - rgb[1])
    assert reddest[0] > 200
    assert reddest[1] < 60
    # and within it the image stays as it is beside it.
    assert (drawn[200, 200] == drawn[380, 200]).all()
    assert len(set(drawn[200, 200])) == 1


def test_boxes_alone(axes):
    objects = Objects(np.array([[10, 10, 30, 30]]), np.array([0]))
    scene_plots.draw_objects(axes, np.zeros((40, 40, 3), np.uint8), objects, [(1, 0, 0)], ['cat'])
    assert [text.get_text() for text in axes.texts] == ['cat']
    assert len(axes.patches) == 1
    assert not axes.lines


def test_label_maps_name_their_regions(axes):
    image, labels = np.full((40, 40, 3), 100, np.uint8), np.zeros((40, 40), int)
    labels[5:15, 5:15] = 1
    labels[20:30, 20:30] = 1
    labels[0, 0] = 2  # too small for its name
    labels[39] = 255
    colours = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
    scene_plots.draw_label_map(axes, image, labels, colours, ['ground', 'cat', 'dog'], (0,))
    (picture,) = (image.get_array() for image in axes.images)
    grey = scene_plots.as_ground(image)
    for shown in (labels == 0, labels == 255):
        assert (picture[shown] == grey[shown]).all()
    assert (picture[labels == 1] == np.array([0.25 * 75 + 0.75 * 255, 18.75, 18.75], int)).all()
    assert [text.get_text() for text in axes.texts] == ['cat', 'cat']
    assert all(labels[round(y), round(x)] == 1 for x, y in (t.get_position() for t in axes.texts))


def test_a_legend_has_all_classes():
    handles = scene_plots.class_handles([(1, 0, 0), (0, 1, 0)], ['cat', 'dog'])
    assert [(one.get_label(), one.get_color()) for one in handles] == [
        ('cat', (1, 0, 0)),
        ('dog', (0, 1, 0)),
    ]
