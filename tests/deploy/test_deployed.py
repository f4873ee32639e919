"""Exported files in use: images of every kind, classes, other folders, two hosts in a process."""

import shutil
from importlib import import_module

import cv2
import numpy as np
import onnx
import pytest
import torch

from mmspike.deploy import load
from mmspike.deploy.onnx_files import export_onnx, part_path
from support.exported_networks import DENSE, firing_model
from support.small_runs import CONFIGS


@pytest.fixture(scope='module')
def deployed(exported):
    return load(exported.file)


@pytest.fixture(scope='module')
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_images_of_every_kind(deployed, pixels, tmp_path):
    path = tmp_path / 'ein Bild mit Ümlaut.png'
    path.write_bytes(cv2.imencode('.png', pixels)[1].tobytes())
    (one,) = deployed(pixels)
    assert one['pred_class'] in '0123456789'
    for images in (str(path), path, tmp_path, [pixels], [path], [pixels, str(path), pixels]):
        answers = deployed(images, batch_size=2)
        assert len(answers) == (len(images) if isinstance(images, list) else 1)
        for answer in answers:
            assert np.array_equal(answer['pred_scores'], one['pred_scores'])


def test_several_images_show_a_bar(deployed, pixels, tmp_path):
    bars = import_module('mmpretrain.utils.progress')
    for images, shown in ((pixels, False), ([pixels, pixels], True), ([pixels], False)):
        deployed(images)
        assert bars.disable_progress_bar is not shown


def test_a_file_knows_no_path_of_the_data(deployed):
    (kept,) = deployed.metadata.config['test_dataloader'].values()
    assert list(kept) == ['type', 'pipeline']


def test_a_grey_file(deployed, tmp_path):
    grey = np.random.default_rng(1).integers(0, 256, (40, 50), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    (answer,) = deployed(str(tmp_path / 'grey.png'))
    (same,) = deployed(np.repeat(grey[..., None], 3, -1))
    assert np.array_equal(answer['pred_scores'], same['pred_scores'])


def test_answers_are_those_of_the_checkpoint(deployed, exported):
    sample = torch.randint(0, 256, (3, 3, 32, 32)).float()
    data = deployed.model.data_preprocessor(dict(inputs=list(sample)))
    raw, _ = deployed.model.backbone.part(data['inputs'])
    expected = exported.logits(data['inputs'])
    assert torch.allclose(raw, expected, atol=1e-5)


@pytest.mark.parametrize('shape', [(1, 3, 32, 40), (1, 1, 32, 32), (3, 32, 32), (1, 4, 3, 32, 32)])
def test_inputs_of_another_shape(shape, deployed):
    with pytest.raises(ValueError, match=r'takes an input \(batch, 3, 32, 32\), got'):
        deployed.model.backbone.part(torch.rand(shape))


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_folders_with_any_name(runtime, exported, pixels, tmp_path, deployed):
    folder = tmp_path / 'Größe und ünï 模型'
    folder.mkdir()
    shutil.copy(exported.file, folder / 'mein Netz.onnx')
    (answer,) = load(folder / 'mein Netz.onnx', runtime)(pixels)
    (same,) = deployed(pixels)
    assert np.allclose(answer['pred_scores'], same['pred_scores'], atol=1e-5)


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp('detector')
    path = next(p for p in CONFIGS if p.name.startswith('mask-rcnn_metaspikformer-digits'))
    cfg, model = firing_model(path, folder, torch.randn(2, 3, *DENSE))
    return export_onnx(cfg, model, folder / 'model.onnx')


@pytest.mark.slow
def test_two_hosts_in_one_process(detector, deployed, pixels):
    before = deployed(pixels)
    found = load(detector[0])
    (boxes,) = found(pixels)['predictions']
    assert set(boxes['labels']) <= set(range(10))
    again = deployed(pixels)
    assert np.array_equal(again[0]['pred_scores'], before[0]['pred_scores'])
    assert len(found(pixels)['predictions'][0]['labels']) == len(boxes['labels'])


@pytest.mark.slow
def test_parts_that_do_not_belong_together(detector, tmp_path):
    network, *heads = (shutil.copy(file, tmp_path) for file in detector)
    with pytest.raises(ValueError, match=r'holds roi_head.bbox_head only: load the file of'):
        load(heads[0])
    path = part_path(detector[0], 'roi_head.mask_head')
    model = onnx.load(path)
    for one in model.metadata_props:
        if one.key == 'mmspike.model':
            one.value = '"0123456789abcdef"'
    onnx.save(model, heads[1])
    with pytest.raises(ValueError, match='is of another export than the network beside it'):
        load(network)
    (tmp_path / path.name).unlink()
    with pytest.raises(FileNotFoundError, match=f'there is no file .*{path.name}'):
        load(network)
