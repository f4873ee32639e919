import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmspike.converters import convert_file, convert_sdtv3, convert_sdtv3_events
from support.paths import ROOT
from support.reference_cases import DATA, Case
from support.weights_alone import weights_alone

CONFIGS = ROOT / 'configs/classification/metaspikformer'
HAR_DVS, GESTURE = (next(CONFIGS.glob(f'*{data}.py')) for data in ('har-dvs', 'dvs128-gesture'))


@pytest.fixture(scope='module')
def weights():
    return Case.load('sdtv3_hardvs').weights()


def test_every_key_has_a_place(weights):
    conversion = convert_sdtv3_events(weights)
    assert conversion.missing == conversion.unexpected == []
    assert set(conversion.renamed) == set(weights)
    assert sorted(conversion.renamed.values()) == sorted(weights_alone(conversion.state_dict))
    assert conversion.arch['depths'] == (1, 1, 2, 3, 1)


def test_weights_of_the_published_size_fit_the_config():
    variants = json.loads((DATA / 'sdtv3_hardvs_counts.json').read_text())['variants']
    rows = variants['19M (300 classes)']['state_dict']
    with torch.device('meta'):
        init_default_scope('mmpretrain')
        model = MODELS.build(Config.fromfile(HAR_DVS).model)
        weights = {name: torch.empty(shape) for name, shape, _ in rows}
    conversion = convert_sdtv3_events(weights)
    assert conversion.arch == 'large'
    model.load_state_dict(conversion.state_dict, assign=True)


def test_a_network_with_one_transformer_block_fits_the_gesture_config(tmp_path, weights):
    cfg = Config.fromfile(GESTURE).model
    cfg.backbone.arch.embed_dims = (8, 16, 32, 48, 64)
    cfg.head.update(in_channels=64, num_classes=10)
    one = {k: v for k, v in weights.items() if not k.startswith(('block3.1', 'block3.2', 'block4'))}
    torch.save(dict(model=weights, model_ema=one), tmp_path / 'published.pth')
    target = tmp_path / 'ours.pth'
    conversion = convert_file(tmp_path / 'published.pth', target, norm=8, ema=True)
    assert conversion.arch['depths'] == (1, 1, 2, 1, 0)
    content = torch.load(target, weights_only=True)
    assert content['meta']['mmspike']['neuron']['norm'] == 8
    assert content['meta']['mmspike']['head_neuron']['norm'] == 1
    # The neurons of the file are compared with those of the config, too.
    init_default_scope('mmpretrain')
    MODELS.build(cfg).load_state_dict(content['state_dict'])


def test_each_converter_refuses_the_files_of_the_other(weights):
    with pytest.raises(ValueError, match='looks like an SDT v3 classifier for event cameras'):
        convert_sdtv3(weights)
    without = {key: value for key, value in weights.items() if 'layer_scale' not in key}
    with pytest.raises(ValueError, match='looks like an SDT v3 base classifier'):
        convert_sdtv3_events(without)
