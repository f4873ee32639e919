import argparse

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint

from mmspike.backbones import SDT
from mmspike.converters import convert_file, convert_sdt
from mmspike.neurons import LIF, PLIF, NeuronMismatchError
from support.reference_cases import Case, cases
from support.weights_alone import weights_alone

CONV_OF_HEADS = 'block.1.attn.talking_heads.weight'


@pytest.fixture(scope='module')
def weights():
    return Case.load('sdt_v1_imagenet').weights()


def as_published(weights, **more):
    """What timm writes into a checkpoint."""
    return dict(
        epoch=309,
        arch='sdt',
        state_dict=weights,
        optimizer=dict(state={}, param_groups=[dict(lr=2e-5)]),
        version=2,
        args=argparse.Namespace(model='sdt', dim=64, spike_mode='lif'),
        amp_scaler=dict(scale=65536.0),
        metric=72.28,
        **more,
    )


@pytest.mark.parametrize('case', cases('sdt_v1'))
def test_every_key_has_a_place_or_is_never_used(case):
    weights = Case.load(case).weights()
    conversion = convert_sdt(weights)
    assert conversion.missing == []
    assert conversion.unexpected == []
    assert conversion.unused == [key for key in weights if 'talking_heads' in key]
    assert set(conversion.renamed) | set(conversion.unused) == set(weights)
    assert sorted(conversion.renamed.values()) == sorted(weights_alone(conversion.state_dict))
    assert conversion.arch == dict(embed_dims=64, depth=2)


def test_published_sizes_are_known_by_name(weights):
    widened = {}
    for key, value in weights.items():
        shape = [n * 4 if n >= 8 else n for n in value.shape]
        widened[key] = torch.zeros(shape)
    assert convert_sdt(widened).arch == '2-256'


def test_prefix_of_data_parallel_training_is_dropped(weights):
    plain = convert_sdt(weights)
    wrapped = convert_sdt({f'module.{key}': value for key, value in weights.items()})
    assert list(plain.state_dict) == list(wrapped.state_dict)


def test_learned_decays_make_plif_neurons(weights):
    places = [
        *(f'patch_embed.proj_lif{i}' for i in ('', 1, 2, 3)),
        'patch_embed.rpe_lif',
        *(
            f'block.{i}.{place}_lif'
            for i in range(2)
            for place in (
                *('attn.shortcut', 'attn.q', 'attn.k', 'attn.v', 'attn.talking_heads', 'attn.attn'),
                *('mlp.fc1', 'mlp.fc2'),
            )
        ),
        'head_lif',
    ]
    decays = {f'{place}.w': torch.tensor(i / 10) for i, place in enumerate(places)}
    conversion = convert_sdt({**weights, **decays})
    assert conversion.missing == []
    assert conversion.unexpected == []
    assert len(conversion.unused) == 2 + 3
    net = SDT(conversion.arch, neuron_cfg=dict(type='mmspike.PLIF'))
    net.load_state_dict(
        {k.removeprefix('backbone.'): v for k, v in conversion.state_dict.items() if 'back' in k}
    )
    # In the order in which the reference runs them.
    decay = {name: decays[f'{name}.w'] for name in places}
    assert net.stages[1].neuron.w == decay['patch_embed.proj_lif']
    assert net.stages[4].conv.activate.w == decay['patch_embed.proj_lif3']
    assert net.stages[5].attn.neuron.w == decay['block.0.attn.shortcut_lif']
    assert net.stages[6].attn.kv_neuron.w == decay['block.1.attn.talking_heads_lif']
    assert net.stages[6].mlp.fc2.activate.w == decay['block.1.mlp.fc2_lif']
    assert conversion.state_dict['head.neuron.w'] == decay['head_lif']


def test_missing_and_unexpected_keys_are_reported(tmp_path, weights):
    changed = {k: v for k, v in weights.items() if k != 'block.1.attn.k_bn.bias'}
    changed['block.1.attn.gate.weight'] = torch.zeros(3)
    conversion = convert_sdt(changed)
    assert conversion.missing == ['backbone.stages.6.attn.k.bn.bias']
    assert conversion.unexpected == ['block.1.attn.gate.weight']
    torch.save(as_published(changed), tmp_path / 'a.pth.tar')
    with pytest.raises(ValueError, match=r'lacks 1 tensors .*stages\.6\.attn\.k\.bn\.bias'):
        convert_file(tmp_path / 'a.pth.tar', tmp_path / 'b.pth')
    assert not (tmp_path / 'b.pth').exists()


def test_incomplete_or_misshapen_weights_are_refused(weights):
    without = {k: v for k, v in weights.items() if not k.startswith('patch_embed.proj_conv2.')}
    with pytest.raises(ValueError, match=r'incomplete: no tensor becomes .*stages\.2'):
        convert_sdt(without)
    # Spikformer has such names as well, and 1-D convolutions behind them.
    other = {**weights, 'block.0.attn.q_conv.weight': torch.zeros(64, 64, 1)}
    with pytest.raises(ValueError, match=r'block\.0\.attn\.q_conv.* has shape \(64, 64, 1\)'):
        convert_sdt(other)


@pytest.mark.parametrize(
    ('keys', 'looks_like'),
    [
        (['downsample1_1.encode_conv.weight', 'ConvBlock1_1.0.Conv.pwconv1.0.weight'], 'SDT v3'),
        (['backbone.stages.0.conv.conv.weight'], 'already converted'),
        (['conv1.weight'], r'unknown here \(number of keys: 1;'),
    ],
)
def test_another_model_is_refused_by_name(keys, looks_like):
    with pytest.raises(ValueError, match=f'expected an SDT v1 .*this looks like .*{looks_like}'):
        convert_sdt(dict.fromkeys(keys, torch.zeros(1)))


@pytest.mark.parametrize('ema', [False, True])
def test_file_round_trip(tmp_path, weights, ema):
    averaged = {key: value * 2 for key, value in weights.items()}
    torch.save(as_published(weights, state_dict_ema=averaged), tmp_path / 'model_best.pth.tar')
    target = tmp_path / 'out' / 'converted.pth'
    convert_file(tmp_path / 'model_best.pth.tar', target, ema=ema)
    content = torch.load(target, weights_only=True)
    assert content['meta']['mmspike']['arch'] == dict(embed_dims=64, depth=2)
    assert content['meta']['mmspike']['neuron'] == LIF().describe()
    init_cfg = dict(type='Pretrained', checkpoint=str(target), prefix='backbone.')
    net = SDT(dict(embed_dims=64, depth=2), init_cfg=init_cfg)
    net.init_weights()
    expected = (averaged if ema else weights)['block.1.mlp.fc2_conv.weight']
    assert torch.equal(net.stages[6].mlp.fc2.conv.weight, expected)


def test_file_without_averaged_weights(tmp_path, weights):
    torch.save(as_published(weights), tmp_path / 'a.pth.tar')
    with pytest.raises(
        ValueError, match=r'no averaged weights \(state_dict_ema or .*; it holds .*state_dict'
    ):
        convert_file(tmp_path / 'a.pth.tar', tmp_path / 'b.pth', ema=True)


def test_neurons_are_recorded_and_checked(tmp_path, weights):
    torch.save(as_published(weights), tmp_path / 'a.pth.tar')
    target = tmp_path / 'converted.pth'
    convert_file(tmp_path / 'a.pth.tar', target)
    for neuron in (dict(type='mmspike.LIF', tau=3.0), dict(type=PLIF)):
        other = SDT(dict(embed_dims=64, depth=2), neuron_cfg=neuron)
        with pytest.raises(NeuronMismatchError, match=r'LIF\(.*tau=2.0'):
            load_checkpoint(torch.nn.ModuleDict(dict(backbone=other)), str(target))


class Evil:
    def __reduce__(self):
        return print, ('executed',)


def test_unsafe_file_is_refused(tmp_path, weights, capsys):
    torch.save(as_published(weights, extra=Evil()), tmp_path / 'evil.pth.tar')
    with pytest.raises(ValueError, match='was refused, and nothing in it was run'):
        convert_file(tmp_path / 'evil.pth.tar', tmp_path / 'b.pth')
    assert 'executed' not in capsys.readouterr().out
