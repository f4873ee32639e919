import pytest
import torch
from torch import nn

from mmspike.converters import convert_dense
from mmspike.converters.dense import rename_outside_backbone
from support.paths import ROOT
from support.reference_cases import Case
from support.reference_sdtv3 import Sdtv3Detector, Sdtv3Segmentor
from support.weights_alone import weights_alone

BASE = ROOT / 'configs/_base_/models/semantic-fpn_metaspikformer.py'


@pytest.mark.parametrize(
    ('name', 'make'), [('sdtv3_det_trainq', Sdtv3Detector), ('sdtv3_seg_fpn', Sdtv3Segmentor)]
)
def test_every_weight_finds_its_place(name, make):
    case = Case.load(name)
    model = make(case)
    weights = case.weights()
    conversion = convert_dense({f'module.{key}': w for key, w in weights.items()}, model)
    assert conversion.missing == conversion.unexpected == []
    for old, new in conversion.renamed.items():
        assert torch.equal(conversion.state_dict[new].flatten(), weights[old].flatten())
    # Beside them are the records of the neurons.
    assert set(conversion.state_dict) == {*model.state_dict()}
    assert len(weights_alone(conversion.state_dict)) == len(weights)


def test_names_that_are_not_known_are_reported():
    case = Case.load('sdtv3_seg_fpn')
    model = Sdtv3Segmentor(case)
    weights = dict(case.weights(), **{'auxiliary_head.conv.weight': torch.zeros(1)})
    del weights['decode_head.conv_seg.bias']
    conversion = convert_dense(weights, model)
    assert conversion.unexpected == ['auxiliary_head.conv.weight']
    assert conversion.missing == ['decode_head.conv_seg.bias']
    assert rename_outside_backbone('neck.unknown') is None


def test_weights_of_another_size():
    case = Case.load('sdtv3_seg_fpn')
    weights = case.weights()
    weights['decode_head.conv_seg.weight'] = torch.zeros(3, 32, 1, 1)
    with pytest.raises(ValueError, match=r'conv_seg.weight has shape \(3, 32, 1, 1\), the model'):
        convert_dense(weights, Sdtv3Segmentor(case))


def test_weights_of_a_classifier():
    weights = Case.load('sdtv3_base_s').weights()
    with pytest.raises(ValueError, match='this looks like an SDT v3 base classifier'):
        convert_dense(weights, nn.Linear(1, 1))
