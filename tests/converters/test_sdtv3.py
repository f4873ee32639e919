import argparse

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint

from mmspike.backbones import MetaSpikformer
from mmspike.converters import convert_file, convert_sdtv3
from mmspike.neurons import NeuronMismatchError
from support.reference_cases import Case, cases
from support.weights_alone import weights_alone


@pytest.fixture(scope='module')
def weights():
    return Case.load('sdtv3_base_t_train').weights()


@pytest.fixture
def published(tmp_path, weights):
    """A file with all that a published one holds."""
    path = tmp_path / 'published.pth'
    content = dict(
        model=weights,
        optimizer=dict(state={}, param_groups=[dict(lr=0.1)]),
        epoch=199,
        scaler=dict(scale=65536.0),
        args=argparse.Namespace(model='Efficient_Spiking_Transformer_t', time_steps=1),
    )
    torch.save(content, path)
    return path


@pytest.mark.parametrize('case', cases('sdtv3_base'))
def test_every_key_has_a_place(case):
    weights = Case.load(case).weights()
    conversion = convert_sdtv3(weights)
    assert conversion.missing == []
    assert conversion.unexpected == []
    assert set(conversion.renamed) == set(weights)
    assert sorted(conversion.renamed.values()) == sorted(weights_alone(conversion.state_dict))
    assert conversion.arch == {'sdtv3_base_s': 'small', 'sdtv3_base_t_train': 'tiny'}[case]


def test_prefix_of_data_parallel_training_is_dropped(weights):
    plain = convert_sdtv3(weights)
    wrapped = convert_sdtv3({f'module.{key}': value for key, value in weights.items()})
    assert list(plain.state_dict) == list(wrapped.state_dict)


def test_other_widths_and_depths_are_read_from_the_shapes(weights):
    smaller = {k: v for k, v in weights.items() if not k.startswith('block3.5.')}
    conversion = convert_sdtv3(smaller)
    assert conversion.arch['depths'] == (1, 1, 2, 5, 2)
    assert conversion.missing == []


def test_missing_and_unexpected_keys_are_reported(weights):
    changed = {k: v for k, v in weights.items() if k != 'block3.2.attn.k_conv.1.bias'}
    changed['head_kd.weight'] = torch.zeros(3)
    changed['block3.2.attn.gate.weight'] = torch.zeros(3)
    conversion = convert_sdtv3(changed)
    assert conversion.missing == ['backbone.stages.3.blocks.2.attn.k.bn.bias']
    assert sorted(conversion.unexpected) == ['block3.2.attn.gate.weight', 'head_kd.weight']


def test_incomplete_or_misshapen_weights_are_refused(tmp_path, weights):
    without = {k: v for k, v in weights.items() if not k.startswith('downsample3.')}
    with pytest.raises(ValueError, match=r'incomplete: no tensor becomes .*stages\.3\.downsample'):
        convert_sdtv3(without)
    other = dict(weights, **{'ConvBlock2_1.0.conv1.weight': torch.zeros(7, 7, 3, 3)})
    with pytest.raises(ValueError, match=r'ConvBlock2_1.* has shape \(7, 7, 3, 3\), .*192, 48, 3'):
        convert_sdtv3(other)
    torch.save(dict(model=torch.zeros(3)), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='holds a Tensor where weights are expected'):
        convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    lacking = {k: v for k, v in weights.items() if k != 'block3.2.attn.k_conv.1.bias'}
    torch.save(lacking, tmp_path / 'c.pth')
    with pytest.raises(ValueError, match='lacks 1 tensors'):
        convert_file(tmp_path / 'c.pth', tmp_path / 'b.pth')


def test_file_round_trip(tmp_path, published, weights):
    target = tmp_path / 'out' / 'converted.pth'
    convert_file(published, target)
    content = torch.load(target, weights_only=True)
    assert content['meta']['mmspike']['arch'] == 'tiny'
    assert content['meta']['mmspike']['neuron'] == dict(
        type='SFA', D=4, norm=4.0, rounding='half_even'
    )
    init_cfg = dict(type='Pretrained', checkpoint=str(target), prefix='backbone.')
    net = MetaSpikformer('tiny', init_cfg=init_cfg)
    net.init_weights()
    expected = weights['block4.1.mlp.fc2_conv.weight'].unsqueeze(-1)
    assert torch.equal(net.stages[4].blocks[1].mlp.fc2.conv.weight, expected)
    assert [p.name for p in target.parent.iterdir()] == ['converted.pth']


def test_neurons_are_recorded_and_checked(tmp_path, published):
    target = tmp_path / 'converted.pth'
    convert_file(published, target, D=8)
    fits = torch.nn.ModuleDict(
        dict(backbone=MetaSpikformer('tiny', neuron_cfg=dict(type='mmspike.SFA', D=8)))
    )
    load_checkpoint(fits, str(target))
    for neuron in (
        dict(type='mmspike.SFA', D=4),
        dict(type='mmspike.LIF'),
        dict(type='mmspike.SFA', D=8, rounding='half_up'),
    ):
        other = torch.nn.ModuleDict(dict(backbone=MetaSpikformer('tiny', neuron_cfg=neuron)))
        with pytest.raises(NeuronMismatchError, match=r'SFA\(D=8'):
            load_checkpoint(other, str(target))


# Keys of each family, from its published or reference state dict.
OTHERS = {
    'SDT v2': [
        'downsample1_1.encode_conv.weight',
        'ConvBlock1_1.0.Conv.pwconv1.weight',
        'block3.0.attn.q_conv.0.body.0.weight',
        'head_kd.weight',
    ],
    'SDT v3 large': [
        'downsample1_1.encode_conv.weight',
        'block3.0.attn.q_conv.0.conv1.0.weight',
        'head_kd.weight',
    ],
    'masked-autoencoder': [
        'pos_embed',
        'mask_token',
        'decoder_pos_embed',
        'block3.0.attn.q_conv.0.conv1.0.weight',
    ],
    'SDT v3 detection or segmentation': [
        'backbone.downsample1_1.encode_conv.weight',
        'backbone.ConvBlock1_1.0.Conv.pwconv1.0.weight',
        'neck.fpn_convs.0.conv.weight',
    ],
    'SDT v3 classifier for event cameras': [
        'downsample1_1.encode_conv.weight',
        'ConvBlock1_1.0.Conv.pwconv1.0.weight',
        'block3.0.layer_scale1',
    ],
    'SDT v1': ['patch_embed.proj_conv.weight', 'block.0.attn.q_conv.weight', 'head.weight'],
    'Masked Spiking Transformer': [
        'patch_embed.proj_if.up',
        'layers.0.blocks.0.attn.qkv.weight',
        'layers.0.blocks.0.attn.relative_position_bias_table',
    ],
    'already converted': ['backbone.stages.0.downsample.conv.weight', 'head.fc.weight'],
    r'unknown here \(number of keys: 2; first: conv1.weight, fc.bias\)': [
        'conv1.weight',
        'fc.bias',
    ],
}


@pytest.mark.parametrize('looks_like', OTHERS)
def test_another_model_is_refused_by_name(looks_like):
    with pytest.raises(ValueError, match=f'this looks like .*{looks_like}'):
        convert_sdtv3(dict.fromkeys(OTHERS[looks_like], torch.zeros(1)))


class Evil:
    def __reduce__(self):
        return print, ('executed',)


def test_bad_files(tmp_path, published, capsys):
    target = tmp_path / 'target.pth'
    target.write_bytes(b'old')
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(published.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r'cut.pth \(100000 bytes\) cannot be read'):
        convert_file(cut, target)
    with pytest.raises(IsADirectoryError, match=r'is a directory; in it are .*cut.pth'):
        convert_file(tmp_path, target)
    with pytest.raises(FileNotFoundError, match='no checkpoint file'):
        convert_file(tmp_path / 'absent.pth', target)
    evil = tmp_path / 'evil.pth'
    torch.save(dict(model={}, args=Evil()), evil)
    with pytest.raises(ValueError, match='was refused, and nothing in it was run'):
        convert_file(evil, target)
    assert 'executed' not in capsys.readouterr().out
    assert target.read_bytes() == b'old'
