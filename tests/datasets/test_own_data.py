"""What the commonest mistakes with data of one's own say, in Runners of the shipped configs."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
from mmengine.runner import Runner

from support.paths import ROOT
from support.small_runs import DIGITS, small_config

DETECTOR = ROOT / (
    'configs/detection/digit-scenes/'
    'retinanet_metaspikformer-digits-sfa-t1d4_fpn_1xb4-4e_digit-scenes.py'
)
SEGMENTOR = ROOT / (
    'configs/segmentation/digit-scenes/'
    'semantic-fpn_metaspikformer-digits-sfa-t1d4_1xb8-1500_digit-scenes.py'
)


def fails(cfg, error, words) -> None:
    with pytest.raises(error, match=words):
        Runner.from_cfg(cfg).train()


# --- Detection -----------------------------------------------------------------------------------


@pytest.fixture
def detector(tmp_path):
    """A config, its annotation file, and a way to change that."""
    cfg = small_config(DETECTOR, tmp_path)
    del cfg.train_dataloader.dataset['indices']
    file = tmp_path / 'scenes' / cfg.train_dataloader.dataset.ann_file

    def change(how) -> None:
        content = json.loads(file.read_text())
        how(content)
        file.write_text(json.dumps(content))

    return cfg, file, change


def test_no_category_is_a_class(detector):
    cfg, file, change = detector
    change(lambda content: [c.update(name='digit ' + c['name']) for c in content['categories']])
    fails(
        cfg,
        ValueError,
        f"no image of {file} is left: none of its categories is a class; its categories are 'digit "
        "0', .*the config's classes are '0', '1'",
    )


def test_a_class_that_the_file_does_not_have(detector):
    cfg, _, change = detector
    change(lambda content: content['categories'][3].update(name='three'))
    fails(cfg, ValueError, r"has no category '3'; its categories are '0', .*'three'")


def test_classes_in_another_order(detector):
    cfg, _, change = detector
    change(lambda content: content['categories'].reverse())
    fails(cfg, ValueError, 'the classes are not in the order of the categories')


def test_no_image_is_left_by_the_filter(detector):
    cfg, file, _ = detector
    cfg.train_dataloader.dataset.filter_cfg = dict(min_size=1000)
    fails(cfg, ValueError, f'no image of {file} is left: .*min_size.*of its 4 images 4 have')


def test_no_images_in_the_file(detector):
    cfg, file, change = detector
    change(lambda content: content.update(images=[], annotations=[]))
    fails(cfg, ValueError, f'{file} lists no image')


def test_no_annotation_file(detector):
    cfg, _, _ = detector
    cfg.train_dataloader.dataset.ann_file = 'annotations/train.json'
    fails(cfg, FileNotFoundError, 'no annotation file .*annotations/train.json .*data_root=')


def test_wrong_folder_of_the_images(detector):
    cfg, _, _ = detector
    cfg.train_dataloader.dataset.data_prefix = dict(img='train/')
    fails(cfg, FileNotFoundError, 'lists the image .*scenes/train/digits_000000.png, which is not')


@pytest.mark.slow
@pytest.mark.parametrize('part', ['train', 'val'])
def test_heads_for_other_classes(detector, part):
    cfg, _, _ = detector
    cfg.model.bbox_head.num_classes = 80
    fails(cfg, AssertionError, r'`num_classes` \(80\)')


# --- Segmentation --------------------------------------------------------------------------------


@pytest.fixture
def segmentor(tmp_path):
    """A config, and a way to change the label maps."""
    cfg = small_config(SEGMENTOR, tmp_path)

    def change(how) -> None:
        for path in (tmp_path / 'scenes/annotations').glob('*/*.png'):
            labels = how(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
            cv2.imwrite(str(path), labels.astype(np.uint8))

    return cfg, change


def number_from_0(cfg) -> None:
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        dataset.reduce_zero_label = False
        for step in dataset.pipeline:
            if step.type == 'LoadAnnotations':
                step.reduce_zero_label = False


@pytest.mark.slow
def test_a_label_too_large(segmentor):
    cfg, change = segmentor
    change(lambda labels: np.where(labels == 1, 12, labels))
    fails(
        cfg,
        ValueError,
        r'digits_00000\d.png has the label 11; the model has num_classes=11, so labels are 0 to 10 '
        r'and 255 for none, after 1 was taken off',
    )


@pytest.mark.slow
def test_labels_from_1_without_reduce_zero_label(segmentor):
    cfg, change = segmentor
    number_from_0(cfg)
    change(lambda labels: np.full_like(labels, 11))
    fails(cfg, ValueError, 'has the label 11; .*set reduce_zero_label=True')


@pytest.mark.slow
def test_labels_from_0_with_reduce_zero_label(segmentor, capfd):
    cfg, change = segmentor
    # Every class is in every map.
    change(lambda labels: np.arange(labels.size).reshape(labels.shape) % 11)
    Runner.from_cfg(cfg).train()
    assert re.search("none holds class 10 \\('9'\\), all others are there", said(capfd))


@pytest.mark.slow
def test_maps_of_0_and_255(segmentor, capfd):
    cfg, change = segmentor
    number_from_0(cfg)
    change(lambda labels: np.where(labels > 1, 255, 0))
    Runner.from_cfg(cfg).train()
    assert 'they hold only [0, 255]' in said(capfd)


@pytest.mark.slow
def test_right_maps_are_not_warned_of(segmentor, capfd):
    cfg, change = segmentor
    change(lambda labels: 1 + np.arange(labels.size).reshape(labels.shape) % 11)
    Runner.from_cfg(cfg).train()
    assert 'label maps' not in said(capfd)


def said(capfd) -> str:
    out, err = capfd.readouterr()
    return ' '.join((out + err).split())


def test_validation_labels_are_looked_at(segmentor, tmp_path):
    cfg, _ = segmentor
    (path, *_) = (tmp_path / 'scenes/annotations/validation').iterdir()
    cv2.imwrite(str(path), np.full((96, 96), 12, np.uint8))
    with pytest.raises(ValueError, match=f'{path.stem}.png has the label 11'):
        Runner.from_cfg(cfg).test()


@pytest.mark.slow
def test_a_head_for_other_classes(segmentor):
    cfg, _ = segmentor
    cfg.model.decode_head.num_classes = 150
    cfg.model.decode_head.pop('class_priors')
    fails(cfg, ValueError, 'decode_head.num_classes is 150, but SegDataset has 11 classes')


@pytest.mark.parametrize(
    ('changed', 'error', 'words'),
    [
        (dict(metainfo=None), ValueError, r'needs metainfo=dict\(classes'),
        (dict(img_suffix='.jpg'), ValueError, r"none with img_suffix='.jpg'; it holds 'digits_0"),
        (dict(seg_map_suffix='_mask.png'), FileNotFoundError, "seg_map_suffix='_mask.png'"),
        (dict(ann_file='train.txt'), FileNotFoundError, r'no list of names .*train\.txt'),
        (
            dict(data_prefix=dict(img_path='images/train', seg_map_path='annotations/training')),
            FileNotFoundError,
            r"no folder .*images/train \(from data_root=.*data_prefix\['img_path'\]",
        ),
        (
            dict(data_prefix=dict(img_path='images/training', seg_map_path='masks')),
            FileNotFoundError,
            'no folder .*masks',
        ),
    ],
)
def test_folders_of_a_segmentor(segmentor, changed, error, words):
    cfg, _ = segmentor
    for key, value in changed.items():
        cfg.train_dataloader.dataset[key] = value
    fails(cfg, error, words)


# --- Classification ------------------------------------------------------------------------------


@pytest.fixture
def classifier(tmp_path):
    """A config of three classes in folders, and the data's folder."""
    cfg = small_config(DIGITS, tmp_path)
    for split in ('train', 'val'):
        for name in ('cat', 'dog', 'owl'):
            folder = tmp_path / 'own' / split / name
            folder.mkdir(parents=True)
            for i in range(2):
                cv2.imwrite(str(folder / f'{i}.png'), np.full((8, 8, 3), 90 * i, np.uint8))
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        loader.dataset = dict(
            type='mmspike.ImageFolders',
            data_root=str(tmp_path / 'own'),
            data_prefix='train' if part == 'train' else 'val',
            pipeline=[dict(type='LoadImageFromFile'), *loader.dataset.pipeline],
        )
    cfg.model.head.num_classes = cfg.data_preprocessor.num_classes = 3
    return cfg, tmp_path / 'own'


@pytest.mark.slow
def test_own_folders_train(classifier):
    cfg, _ = classifier
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 3
    assert list(runner.train_dataloader.dataset.metainfo['classes']) == ['cat', 'dog', 'owl']


@pytest.mark.slow
def test_a_classifier_for_other_classes(classifier):
    cfg, _ = classifier
    cfg.model.head.num_classes = 10
    fails(cfg, ValueError, 'head.num_classes is 10, but ImageFolders has 3 classes: cat, dog, owl')


@pytest.mark.slow
def test_a_class_without_folder_in_validation(classifier):
    cfg, data = classifier
    shutil.rmtree(data / 'val' / 'dog')
    (data / 'val' / 'rat').mkdir()
    shutil.copy(data / 'val/cat/0.png', data / 'val/rat')
    fails(cfg, ValueError, r"differ in \['dog', 'rat'\]")


def test_folders_are_not_the_classes(classifier):
    cfg, _ = classifier
    cfg.train_dataloader.dataset.metainfo = dict(classes=['owl', 'cat', 'fox'])
    fails(cfg, ValueError, "missing are 'fox', no class are 'dog'")
    cfg.train_dataloader.dataset.metainfo = dict(classes=['owl', 'cat', 'dog'])
    fails(cfg, ValueError, "order: the order differs. .*the classes 'owl', 'cat', 'dog'")


def test_an_empty_folder(classifier):
    cfg, data = classifier
    for file in (data / 'train' / 'dog').iterdir():
        file.rename(file.with_suffix('.xyz'))
    fails(cfg, ValueError, r"no images of 'dog'; the suffixes of images are .*\.png")


def test_no_folders(classifier):
    cfg, _ = classifier
    cfg.train_dataloader.dataset.data_prefix = 'train/cat'
    fails(cfg, ValueError, 'train/cat has no folders')
    cfg.train_dataloader.dataset.data_prefix = 'training'
    fails(cfg, FileNotFoundError, r'no folder .*training \(from data_root=')


@pytest.mark.slow
def test_labels_of_a_list_that_are_too_large(classifier):
    cfg, data = classifier
    (data / 'train.txt').write_text('cat/0.png 0\ndog/0.png 3\n')
    cfg.train_dataloader.dataset.ann_file = 'train.txt'
    fails(
        cfg, ValueError, r'dog/0.png has the label 3; the model has num_classes=3, so labels are 0'
    )
