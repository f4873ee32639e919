"""The hosts' own inferencers take our configs and the checkpoints that training writes."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from pycocotools import mask as rle

from mmspike.datasets.handwritten_digits import HandwrittenDigits
from mmspike.neurons import NeuronMismatchError
from support.small_checkpoints import (
    CLASSIFICATION,
    CLASSIFICATION_T4,
    DETECTION,
    SEGMENTATION,
    scene,
    trained,
)
from support.small_runs import SCENE


def classifier(config, checkpoint):
    from mmpretrain import ImageClassificationInferencer

    return ImageClassificationInferencer(config, str(checkpoint), 'cpu')


def detector(config, checkpoint):
    from mmdet.apis import DetInferencer

    return DetInferencer(config, str(checkpoint), 'cpu', show_progress=False)


def segmentor(config, checkpoint):
    from mmseg.apis import MMSegInferencer

    return MMSegInferencer(config, str(checkpoint), device='cpu', show_progress=False)


@pytest.mark.parametrize('path', [CLASSIFICATION, CLASSIFICATION_T4], ids=lambda path: path.stem)
def test_classification(path, tmp_path):
    config, checkpoint = trained(path)
    inferencer = classifier(str(config), checkpoint)
    dataset = HandwrittenDigits(
        'test', pipeline=Config.fromfile(config).test_dataloader.dataset.pipeline
    )
    digit = dataset.get_data_info(0)['img']
    cv2.imwrite(str(tmp_path / 'digit.png'), digit)
    of_file, of_array = inferencer([str(tmp_path / 'digit.png'), digit], batch_size=2)
    # What evaluation gets for this digit.
    sample = dataset[0]
    with torch.no_grad():
        (expected,) = inferencer.model.test_step(
            dict(inputs=sample['inputs'][None], data_samples=[sample['data_samples']])
        )
    for result in (of_file, of_array):
        assert result['pred_scores'] == pytest.approx(expected.pred_score.numpy(), abs=1e-6)
        assert result['pred_scores'].sum() == pytest.approx(1, abs=1e-5)
        assert result['pred_class'] == str(result['pred_label'])
    inferencer(str(tmp_path / 'digit.png'), show_dir=str(tmp_path / 'shown'), resize=128)
    assert cv2.imread(str(tmp_path / 'shown/digit.png')).shape == (128, 128, 3)


def test_detection(tmp_path):
    config, checkpoint = trained(DETECTION)
    image = str(scene(DETECTION))
    inferencer = detector(str(config), checkpoint)
    assert inferencer.model.dataset_meta['classes'] == tuple('0123456789')
    (of_file,) = inferencer(image, out_dir=str(tmp_path), no_save_pred=False)['predictions']
    (of_array,) = inferencer(cv2.imread(image))['predictions']
    assert of_file['labels']
    assert of_file == of_array
    assert set(of_file['labels']) <= set(range(10))
    assert all(0 <= score <= 1 for score in of_file['scores'])
    assert np.min(of_file['bboxes']) >= 0
    assert np.max(of_file['bboxes']) <= SCENE
    assert {rle.decode(mask).shape for mask in of_file['masks']} == {(SCENE, SCENE)}
    shown = cv2.imread(str(tmp_path / 'vis' / 'digits_000000.png'))
    assert shown.shape == (SCENE, SCENE, 3)
    assert (tmp_path / 'preds' / 'digits_000000.json').exists()


def test_segmentation(tmp_path):
    config, checkpoint = trained(SEGMENTATION)
    image = str(scene(SEGMENTATION))
    inferencer = segmentor(str(config), checkpoint)
    assert list(inferencer.model.dataset_meta['classes']) == ['background', *'0123456789']
    results = inferencer([image, cv2.imread(image)], out_dir=str(tmp_path))
    of_file, of_array = results['predictions']
    assert of_file.shape == (SCENE, SCENE)
    assert np.array_equal(of_file, of_array)
    assert set(np.unique(of_file)) <= set(range(11))
    assert np.array_equal(cv2.imread(str(tmp_path / 'pred/00000000_pred.png'), -1), of_file)
    assert (tmp_path / 'vis/digits_000000.png').exists()


def test_detection_with_the_config_that_the_checkpoint_holds():
    config, checkpoint = trained(DETECTION)
    image = str(scene(DETECTION))
    assert (
        detector(None, checkpoint)(image)['predictions']
        == detector(str(config), checkpoint)(image)['predictions']
    )


@pytest.mark.parametrize(
    ('path', 'inferencer'),
    [(CLASSIFICATION, classifier), (DETECTION, detector), (SEGMENTATION, segmentor)],
    ids=['mmpretrain', 'mmdet', 'mmseg'],
)
def test_other_neurons_are_refused(path, inferencer):
    config, checkpoint = trained(path)
    cfg = Config.fromfile(config)
    cfg.model.backbone.neuron_cfg.D = 2
    with pytest.raises(NeuronMismatchError, match=r'SFA\(D=4.*has SFA\(D=2'):
        inferencer(cfg, checkpoint)
