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


@pytest.mark.slow
def test_command_line(tmp_path, run_program):
    """A segmentor's file, through a config of its size, into a checkpoint that loads."""
    case = Case.load('sdtv3_seg_fpn')
    source, target = tmp_path / 'published.pth', tmp_path / 'converted.pth'
    torch.save(dict(meta=dict(epoch=1), state_dict=case.weights()), source)
    config = tmp_path / 'config.py'
    config.write_text(f"""
_base_ = {str(BASE)!r}
default_scope = 'mmseg'
custom_imports = dict(imports=['mmspike'], allow_failed_imports=False)
model = dict(
    backbone=dict(arch='tiny'),
    neck=dict(in_channels=[12, 24, 48, 128], out_channels=32),
    decode_head=dict(in_channels=[32] * 4, channels=32, num_classes=19),
)
""")
    tool = 'tools/model_converters/sdtv3_to_mmspike.py'
    out = run_program(tool, source, target, '--config', config).stdout
    assert '0 missing, 0 unexpected' in out
    model = Sdtv3Segmentor(case)
    model.load_state_dict(torch.load(target, weights_only=True)['state_dict'])
    weights = case.weights()
    del weights['decode_head.conv_seg.bias']
    torch.save(dict(state_dict=weights), source)
    failed = run_program(tool, source, target, '--config', config, check=False)
    assert 'lacks 1 tensors of the model, among them decode_head.conv_seg.bias' in failed.stderr
