import contextlib
import io
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmspike.datasets import digit_scenes
from mmspike.datasets.digit_scenes import (
    CLASSES,
    SUBSETS,
    compose_scene,
    smallest_size,
    write_digit_scenes,
)
from mmspike.datasets.digits import digits_of_split
from support.paths import ROOT

COUNTS = {'training': 6, 'validation': 4}
SIZE = 96
ARGUMENTS = dict(num_train=6, num_val=4, size=SIZE, seed=3)
SEG_CLASSES = ('background', *CLASSES)


def compose(seed, **kwargs):
    return compose_scene(np.random.default_rng(seed), *digits_of_split('train'), **kwargs)


@pytest.fixture(scope='module')
def scenes():
    return [compose(seed) for seed in range(40)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    assert write_digit_scenes(folder, **ARGUMENTS)
    return folder


def contents(folder):
    """Every file under the folder with its bytes."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob('*') if f.is_file()}


def annotations_of(folder, subset):
    return json.loads((folder / 'annotations' / f'instances_{subset}.json').read_text())


def expected_label_map(content, image, size=SIZE):
    """The label map of an image, drawn from its COCO annotations."""
    labels = np.full((size, size), 1, dtype=np.uint8)
    for annotation in content['annotations']:
        if annotation['image_id'] == image['id']:
            drawn = rle.decode(annotation['segmentation']).astype(bool)
            assert (labels[drawn] == 1).all()
            labels[drawn] = annotation['category_id'] + 1
    return labels


# Scenes


def test_shapes_and_types(scenes):
    for scene in scenes:
        n = len(scene.labels)
        assert 1 <= n <= 5
        assert (scene.image.shape, scene.image.dtype) == ((128, 128, 3), np.uint8)
        assert (scene.masks.shape, scene.masks.dtype) == ((n, 128, 128), bool)
        assert (scene.boxes.shape, scene.boxes.dtype) == ((n, 4), np.float32)
        assert set(scene.labels) <= set(range(10))
    assert {len(scene.labels) for scene in scenes} == {1, 2, 3, 4, 5}


def test_the_seed_decides():
    a, b, other = compose(5), compose(5), compose(6)
    for name in ('image', 'masks', 'labels', 'boxes'):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.image != other.image).any()


def test_boxes_are_tight(scenes):
    for scene in scenes:
        for mask, box in zip(scene.masks, scene.boxes, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [
                columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            ]  # fmt: skip


def test_masks_share_no_pixel(scenes):
    assert all(scene.masks.sum(axis=0).max() == 1 for scene in scenes)


def test_label_map_is_the_masks(scenes):
    for scene in scenes:
        labels = scene.label_map()
        assert labels.dtype == np.uint8
        assert (labels[~scene.masks.any(axis=0)] == 1).all()
        for mask, label in zip(scene.masks, scene.labels, strict=True):
            assert (labels[mask] == label + 2).all()


def test_digits_have_the_size_asked_for():
    # Digits fill the height of their 8x8 image, up to the soft edge; turning changes it a little.
    heights = [
        box[3] - box[1]
        for seed in range(20)
        for box in compose(seed, max_digits=1, sides=(40, 40)).boxes
    ]
    assert 34 <= min(heights) <= max(heights) <= smallest_size(40)


def test_digits_stand_out(scenes):
    for scene in scenes:
        grey = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY).astype(float)
        paper = grey[~scene.masks.any(axis=0)].mean()
        assert min(grey[mask].mean() for mask in scene.masks) > paper + 50


def test_occlusion_is_limited(monkeypatch):
    """Every digit keeps at least half of the pixels it had when it was placed."""
    areas = []
    find_place = digit_scenes.find_place

    def watch(rng, mask, owner, earlier):
        place = find_place(rng, mask, owner, earlier)
        if place is not None:
            areas.append(mask.sum())
        return place

    monkeypatch.setattr(digit_scenes, 'find_place', watch)
    shares = []
    for seed in range(30):
        areas.clear()
        shares.extend(compose(seed, size=80).masks.sum(axis=(1, 2)) / areas)
    assert 0.5 <= min(shares) < 1
    assert max(shares) == 1


def test_a_scene_without_room_is_refused():
    with pytest.raises(ValueError, match='at least 70 pixels, got size=69'):
        compose(0, size=69)
    assert compose(0, size=70).image.shape == (70, 70, 3)


def test_splits_are_those_of_the_classification_dataset():
    from mmspike.datasets.handwritten_digits import HandwrittenDigits

    for split in ('train', 'test'):
        images, labels = digits_of_split(split)
        dataset = HandwrittenDigits(split)
        theirs = [dataset.get_data_info(i) for i in range(len(dataset))]
        np.testing.assert_array_equal(images, [item['img'][..., 0] for item in theirs])
        assert labels.tolist() == [item['gt_label'] for item in theirs]


# Files


def test_subsets_are_made_of_different_digits(tmp_path, monkeypatch):
    used = []
    compose_scene = digit_scenes.compose_scene

    def watch(rng, digits, labels, **kwargs):
        used.append({digit.tobytes() for digit in digits})
        return compose_scene(rng, digits, labels, **kwargs)

    monkeypatch.setattr(digit_scenes, 'compose_scene', watch)
    write_digit_scenes(tmp_path, num_train=1, num_val=1, size=SIZE)
    train, val = used
    assert (len(train), len(val)) == (1437, 360)
    assert not train & val


def test_the_same_parameters_give_the_same_bytes(folder, tmp_path):
    write_digit_scenes(tmp_path, **ARGUMENTS)
    assert contents(tmp_path) == contents(folder)


def test_more_scenes_begin_with_the_same(folder, tmp_path):
    write_digit_scenes(tmp_path, **{**ARGUMENTS, 'num_train': 7})
    before, after = contents(folder), contents(tmp_path)
    images = [name for name in before if name.endswith('.png')]
    assert len(images) == 2 * sum(COUNTS.values())
    assert all(before[name] == after[name] for name in images)


def test_another_seed_gives_other_scenes(folder, tmp_path):
    write_digit_scenes(tmp_path, **{**ARGUMENTS, 'seed': 4})
    before, after = contents(folder), contents(tmp_path)
    assert before.keys() == after.keys()
    assert not [name for name in before if before[name] == after[name]]


@pytest.mark.parametrize('subset', SUBSETS)
def test_images_and_label_maps(folder, subset):
    content = annotations_of(folder, subset)
    assert len(content['images']) == COUNTS[subset]
    for image in content['images']:
        assert (image['width'], image['height']) == (SIZE, SIZE)
        pixels = cv2.imread(str(folder / 'images' / subset / image['file_name']), -1)
        assert (pixels.shape, pixels.dtype) == ((SIZE, SIZE, 3), np.uint8)
        labels = cv2.imread(str(folder / 'annotations' / subset / image['file_name']), -1)
        assert (labels.shape, labels.dtype) == ((SIZE, SIZE), np.uint8)
        np.testing.assert_array_equal(labels, expected_label_map(content, image))


def test_colours_are_written_in_the_right_order(folder):
    digits = digits_of_split('train')
    scene = compose_scene(np.random.default_rng([3, 0, 0]), *digits, size=SIZE)
    written = cv2.imread(str(folder / 'images' / 'training' / 'digits_000000.png'))
    np.testing.assert_array_equal(cv2.cvtColor(written, cv2.COLOR_BGR2RGB), scene.image)


def test_annotations_agree_with_their_masks(folder):
    for subset in SUBSETS:
        content = annotations_of(folder, subset)
        names = {category['id']: category['name'] for category in content['categories']}
        assert names == {i + 1: str(i) for i in range(10)}
        for annotation in content['annotations']:
            encoded = annotation['segmentation']
            assert annotation['bbox'] == rle.toBbox(encoded).tolist()
            assert annotation['area'] == rle.area(encoded)
            assert annotation['iscrowd'] == 0


def test_a_second_call_does_nothing(folder):
    before = {file: file.stat().st_mtime_ns for file in folder.rglob('*')}
    assert not write_digit_scenes(folder, **ARGUMENTS)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob('*')} == before


@pytest.mark.parametrize('changed', [dict(seed=4), dict(size=97), dict(num_val=5)])
def test_other_parameters_are_refused(folder, changed):
    before = contents(folder)
    ((name, value),) = changed.items()
    with pytest.raises(ValueError, match=rf'{name}={ARGUMENTS[name]}\b.*asked for.*{name}={value}'):
        write_digit_scenes(folder, **{**ARGUMENTS, **changed})
    assert contents(folder) == before


def test_an_interrupted_run_is_run_again(folder, tmp_path):
    seen = 0

    def stop():
        nonlocal seen
        seen += 1
        if seen == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_digit_scenes(tmp_path, **ARGUMENTS, on_scene=stop)
    assert not (tmp_path / 'scenes.json').exists()
    # With fewer scenes, left-over images would be taken for scenes.
    with pytest.raises(ValueError, match=r'4 files that are not of these .*digits_000002\.png'):
        write_digit_scenes(tmp_path, **{**ARGUMENTS, 'num_train': 2})
    assert write_digit_scenes(tmp_path, **ARGUMENTS)
    assert contents(tmp_path) == contents(folder)


def test_files_of_others_are_left_alone(tmp_path):
    other = tmp_path / 'images' / 'validation' / 'ADE_val_00000001.jpg'
    other.parent.mkdir(parents=True)
    other.touch()
    with pytest.raises(ValueError, match='ADE_val_00000001'):
        write_digit_scenes(tmp_path, **ARGUMENTS)
    assert list(contents(tmp_path)) == ['images/validation/ADE_val_00000001.jpg']


@pytest.mark.parametrize('text', ['{"format": 1', '3', ''])
def test_a_damaged_summary_is_named(tmp_path, text):
    (tmp_path / 'scenes.json').write_text(text)
    with pytest.raises(ValueError, match=r'scenes\.json is damaged'):
        write_digit_scenes(tmp_path, **ARGUMENTS)


@pytest.mark.parametrize(
    'wrong', [dict(num_train=0), dict(num_val=0), dict(seed=-1), dict(size=69)]
)
def test_parameters_without_sense(tmp_path, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f'{name} must be at least .*, got {value}'):
        write_digit_scenes(tmp_path, **{**ARGUMENTS, **wrong})
    assert not list(tmp_path.iterdir())


# In the hosts


@pytest.mark.parametrize('subset', SUBSETS)
def test_mmdet_reads_them(folder, subset):
    from mmdet.datasets import CocoDataset

    init_default_scope('mmdet')
    dataset = CocoDataset(
        metainfo=dict(classes=CLASSES),
        data_root=str(folder),
        ann_file=f'annotations/instances_{subset}.json',
        data_prefix=dict(img=f'images/{subset}/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='PackDetInputs'),
        ],
    )
    content = annotations_of(folder, subset)
    assert len(dataset) == COUNTS[subset]
    counted = Counter(annotation['image_id'] for annotation in content['annotations'])
    for image, item in zip(content['images'], dataset, strict=True):
        instances = item['data_samples'].gt_instances
        assert len(instances) == counted[image['id']]
        # Here labels count from 0, there 1 is the background.
        labels = np.ones((SIZE, SIZE), dtype=np.uint8)
        for mask, label in zip(instances.masks.masks, instances.labels, strict=True):
            labels[mask.astype(bool)] = int(label) + 2
        np.testing.assert_array_equal(labels, expected_label_map(content, image))
        boxes = instances.masks.get_bboxes('hbox').tensor
        assert boxes.tolist() == instances.bboxes.tensor.tolist()


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_truth_scores_full_marks(folder, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / 'annotations' / 'instances_validation.json')
        answers = truth.loadRes(
            [
                dict(annotation, score=1.0)
                for annotation in annotations_of(folder, 'validation')['annotations']
            ]
        )
        evaluation = COCOeval(truth, answers, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_mmseg_reads_them(folder):
    from mmseg.datasets import ADE20KDataset, BaseSegDataset

    init_default_scope('mmseg')
    layout = dict(
        data_root=str(folder),
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        img_suffix='.png',
        reduce_zero_label=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', reduce_zero_label=True),
            dict(type='PackSegInputs'),
        ],
    )
    palette = [[i, i, i] for i in range(11)]
    # ADE20KDataset takes no classes but ADE20K's; its base class does.
    own = BaseSegDataset(metainfo=dict(classes=SEG_CLASSES, palette=palette), **layout)
    content = annotations_of(folder, 'validation')
    for dataset in (own, ADE20KDataset(**layout)):
        assert len(dataset) == COUNTS['validation']
        for item in dataset:
            sample = item['data_samples']
            name = Path(sample.img_path).name
            (image,) = (i for i in content['images'] if i['file_name'] == name)
            assert item['inputs'].shape == (3, SIZE, SIZE)
            np.testing.assert_array_equal(
                sample.gt_sem_seg.data[0].numpy(), expected_label_map(content, image) - 1
            )
    assert own.metainfo['classes'] == SEG_CLASSES


# The tool


@pytest.mark.slow
def test_the_tool(run_program, folder, tmp_path):
    options = [f'--{name.replace("_", "-")}={value}' for name, value in ARGUMENTS.items()]
    preview = tmp_path / 'preview.png'
    tool = ('tools/dataset_converters/digit_scenes.py', f'--out={tmp_path / "scenes"}')
    out = run_program(*tool, *options, f'--preview={preview}').stdout
    assert contents(tmp_path / 'scenes') == contents(folder)
    objects = [len(annotations_of(folder, subset)['annotations']) for subset in SUBSETS]
    shown = [line.replace('│', ' ').split() for line in out.splitlines()]
    assert ['images', '6', '4'] in shown
    assert ['objects', *map(str, objects)] in shown
    picture = cv2.imread(str(preview))
    assert picture.shape == (1104, 1056, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000


def test_the_tool_says_what_is_wrong(folder, monkeypatch, capsys):
    tool = str(ROOT / 'tools' / 'dataset_converters' / 'digit_scenes.py')
    monkeypatch.setattr(sys, 'argv', [tool, f'--out={folder}', '--seed=9'])
    with pytest.raises(SystemExit, match=rf'^digit_scenes\.py: {folder} holds scenes of '):
        runpy.run_path(tool, run_name='__main__')
    assert 'images' not in capsys.readouterr().out
