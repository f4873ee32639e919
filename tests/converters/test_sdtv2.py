import argparse

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint

from mmspike.converters import (
    convert_dense,
    convert_file,
    convert_sdtv2,
    convert_sdtv3,
)
from mmspike.converters.sdtv2 import rename_key
from support.parity import family_of
from support.reference_cases import Case
from support.reference_sdtv2 import SDTV2Classifier, SDTV2Segmentor
from support.reference_sdtv3 import Sdtv3Segmentor
from support.weights_alone import weights_alone


@pytest.fixture(scope='module')
def case():
    return Case.load('meta_spikeformer_v2')


@pytest.fixture(scope='module')
def weights(case):
    return case.weights()


def test_every_key_has_a_place(weights):
    conversion = convert_sdtv2({f'module.{key}': value for key, value in weights.items()})
    assert conversion.missing == conversion.unexpected == []
    assert set(conversion.renamed) == set(weights)
    assert sorted(conversion.renamed.values()) == sorted(weights_alone(conversion.state_dict))
    assert conversion.arch['embed_dims'] == (16, 32, 64, 128, 160)
    for old, new in conversion.renamed.items():
        assert torch.equal(conversion.state_dict[new].flatten(), weights[old].flatten())


def test_a_file_without_distillation_has_one_classifier(weights):
    plain = {key: value for key, value in weights.items() if not key.startswith('head_kd')}
    conversion = convert_sdtv2(plain)
    assert conversion.missing == []
    assert 'head.fc.weight' in conversion.state_dict
    assert not any('distill' in key for key in conversion.state_dict)


def test_published_sizes_are_known_by_name(weights):
    widths = {8: 8, 16: 32, 32: 64, 64: 128, 128: 256, 160: 360}
    del widths[8]
    sizes = {**widths, 256: 512, 512: 1024, 640: 1440}
    widened = {
        key: torch.zeros([sizes.get(n, n) for n in value.shape], device='meta')
        for key, value in weights.items()
    }
    assert convert_sdtv2(widened).arch == '15M'


@pytest.mark.parametrize('name', ['meta_spikeformer_v2_det', 'meta_spikeformer_v2_seg'])
def test_detectors_and_segmentors(name):
    case = Case.load(name)
    model = family_of(name)(case)
    weights = case.weights()
    conversion = convert_dense(weights, model)
    assert conversion.missing == conversion.unexpected == []
    assert len(weights_alone(conversion.state_dict)) == len(weights)


def test_unknown_keys_are_reported(weights):
    more = dict(weights, **{'block3.0.attn.q_conv.0.body.3.weight': torch.zeros(1)})
    del more['block4.1.attn.proj_conv.0.body.2.1.weight']
    conversion = convert_sdtv2(more)
    assert conversion.unexpected == ['block3.0.attn.q_conv.0.body.3.weight']
    assert conversion.missing == ['backbone.stages.4.blocks.1.attn.out.conv.pointwise2.weight']
    assert rename_key('fc_norm.weight') is None


def test_files_of_another_version(weights):
    with pytest.raises(ValueError, match=r'expected an SDT v3 base .* like an SDT v2 \(Meta-Sp'):
        convert_sdtv3(weights)
    with pytest.raises(ValueError, match=r'expected an SDT v2 .* this looks like an SDT v3 base'):
        convert_sdtv2(Case.load('sdtv3_base_s').weights())
    v2, v3 = (Case.load(f'{name}') for name in ('meta_spikeformer_v2_seg', 'sdtv3_seg_fpn'))
    with pytest.raises(ValueError, match=r'SDT v2 detection .* SDTV2; the model has MetaSpikf'):
        convert_dense(v2.weights(), Sdtv3Segmentor(v3))
    with pytest.raises(ValueError, match=r'SDT v3 detection .* MetaSpikformer; the model has SDTV'):
        convert_dense(v3.weights(), SDTV2Segmentor(v2))


def test_a_published_file_becomes_a_checkpoint(case, weights, tmp_path):
    source, target = tmp_path / '55M_kd.pth', tmp_path / 'converted.pth'
    torch.save(
        dict(
            model=weights, optimizer=dict(state={}), epoch=199, scaler=dict(scale=1.0),
            args=argparse.Namespace(model='metaspikformer_8_512', kd=True),
        ),
        source,
    )  # fmt: skip
    convert_file(source, target)
    model = SDTV2Classifier(case)
    expected = model(case.input())['logits']
    for parameter in model.parameters():
        parameter.data.zero_()
    checkpoint = load_checkpoint(model, str(target), strict=True)
    assert checkpoint['meta']['mmspike']['neuron'] == dict(
        type='LIF', threshold=1.0, v_reset=0.0, tau=2.0, decay_input=True
    )
    torch.testing.assert_close(model(case.input())['logits'], expected)
