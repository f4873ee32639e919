"""Exported detectors predict what their checkpoints predict."""

import pytest
import torch
from mmengine.registry import init_default_scope

from mmspike.apis.config import load_config
from mmspike.apis.evaluation import build_test_loader
from mmspike.apis.model import build_model
from mmspike.deploy import export_onnx, load
from mmspike.deploy.onnx_export import folded
from support.paths import ROOT
from support.small_checkpoints import DETECTION, scene, trained

RETINANET = next((ROOT / 'configs/detection/digit-scenes').glob('retinanet*.py'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('path', 'runtime'),
    [(DETECTION, 'openvino'), (RETINANET, 'onnxruntime')],
    ids=['mask-rcnn', 'retinanet'],
)
def test_boxes_and_masks_are_those_of_the_checkpoint(path, runtime, tmp_path):
    config, checkpoint = trained(path)
    cfg = load_config(config)
    init_default_scope(cfg.default_scope)
    model = build_model(cfg, checkpoint)
    files = export_onnx(cfg, model, tmp_path / 'model.onnx')
    two_stages = path == DETECTION
    assert len(files) == (3 if two_stages else 1)
    deployed = load(files[0], runtime)
    batch = next(iter(build_test_loader(cfg)))
    images = model.data_preprocessor(batch, False)['inputs']
    with torch.no_grad():
        expected = folded(model, images).test_step(batch)
        found = deployed.model.test_step(batch)
    for one, other in zip(expected, found, strict=True):
        one, other = one.pred_instances, other.pred_instances
        assert len(one) == len(other) > 0
        torch.testing.assert_close(one.bboxes, other.bboxes, atol=0.05, rtol=0)
        torch.testing.assert_close(one.scores, other.scores, atol=1e-3, rtol=0)
        assert torch.equal(one.labels, other.labels)
        if two_stages:
            assert (one.masks == other.masks).float().mean() > 0.999
    result = deployed(str(scene(path)), return_datasamples=True)['predictions'][0]
    assert 'bboxes' in result.pred_instances
    assert deployed.metadata.classes == [str(i) for i in range(10)]
