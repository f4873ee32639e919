import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint

from mmspike.backbones import SDTV3Large
from mmspike.converters import convert_file, convert_sdtv2, convert_sdtv3, convert_sdtv3_large
from mmspike.neurons import NeuronMismatchError
from support.reference_cases import Case, cases, make_weight
from support.weights_alone import weights_alone

ARCH = dict(
    embed_dims=(16, 32, 64, 128), depths=(1, 1, 2, 2), num_heads=8, stem_stride=2,
    rep_expansion=1.0,
)  # fmt: skip


@pytest.fixture(scope='module')
def weights():
    return Case.load('sdtv3_spikformer_base_patched').weights()


def wide(weights):
    """The same with the 1.5 times wider extra branch of the released file."""
    shapes = {
        'conv1.0.weight': (192, 128, 1),
        'conv2.0.weight': (128, 192, 1),
        **{f'conv1.1.{name}': (192,) for name in ('weight', 'bias', 'running_mean', 'running_var')},
    }
    names = {f'block3.{i}.rep_conv.{name}': s for i in range(2) for name, s in shapes.items()}
    return {**weights, **{name: make_weight(name, shape, 1.0) for name, shape in names.items()}}


@pytest.mark.parametrize('case', cases('sdtv3_spikformer'))
def test_every_key_has_a_place(case):
    weights = Case.load(case).weights()
    conversion = convert_sdtv3_large(weights)
    assert conversion.missing == []
    assert conversion.unexpected == []
    assert set(conversion.renamed) == set(weights)
    assert sorted(conversion.renamed.values()) == sorted(weights_alone(conversion.state_dict))


def test_the_form_of_the_blocks_is_read_from_the_shapes(weights):
    assert convert_sdtv3_large(weights).arch == ARCH
    conversion = convert_sdtv3_large(wide(weights))
    assert conversion.arch == dict(ARCH, rep_expansion=1.5)
    assert conversion.missing == []
    without = {key: value for key, value in weights.items() if 'rep_conv' not in key}
    assert convert_sdtv3_large(without).arch == dict(ARCH, rep_expansion=None)


@pytest.mark.parametrize('arch', ['12-512', '12-512-wide-rep', '12-768', '12-768-smae'])
def test_published_forms_are_called_by_name(arch):
    """On the meta device: the names of a converted network, turned back."""
    with torch.device('meta'):
        names = dict(SDTV3Large(arch).named_parameters())
    stems = ('downsample1_1', 'downsample1_2', 'downsample2', 'downsample3')
    weights = {
        f'{stem}.encode_conv.weight': names[f'stages.{i}.downsample.conv.weight']
        for i, stem in enumerate(stems)
    }
    blocks = ('ConvBlock1_1.0', 'ConvBlock1_2.0', 'ConvBlock2_1.0', 'ConvBlock2_2.0')
    weights |= {f'{block}.conv1.0.1.num_batches_tracked': torch.zeros(()) for block in blocks}
    for i in range(12):
        block = f'stages.3.blocks.{i}'
        old = {
            'layer_scale1': 'scale1.weight',
            'attn.q_conv.0.conv1.0.weight': 'attn.q.conv.pointwise1.weight',
            'rep_conv.conv1.0.weight': 'rep_conv.conv.pointwise1.weight',
        }
        weights |= {
            f'block3.{i}.{theirs}': names[f'{block}.{ours}']
            for theirs, ours in old.items()
            if f'{block}.{ours}' in names
        }
    assert convert_sdtv3_large(weights).arch == arch


def test_one_or_two_classifiers(weights):
    one = {key: value for key, value in weights.items() if not key.startswith('head_kd.')}
    conversion = convert_sdtv3_large(one)
    assert conversion.missing == []
    assert [key for key in weights_alone(conversion.state_dict) if key.startswith('head.')] == [
        'head.fc.weight', 'head.fc.bias',
    ]  # fmt: skip


def test_file_round_trip(tmp_path, weights):
    torch.save(dict(model=weights, epoch=99), tmp_path / 'published.pth')
    target = tmp_path / 'converted.pth'
    convert_file(tmp_path / 'published.pth', target, D=8)
    meta = torch.load(target, weights_only=True)['meta']['mmspike']
    assert meta['arch'] == ARCH
    assert meta['neuron'] == dict(type='SFA', D=8, norm=8.0, rounding='half_up')
    assert meta['head_neuron'] == dict(type='SFA', D=8, norm=1.0, rounding='half_up')
    neuron = dict(type='mmspike.SFA', D=8, rounding='half_up', grad_window='strict')
    init_cfg = dict(type='Pretrained', checkpoint=str(target), prefix='backbone.')
    net = SDTV3Large(ARCH, neuron_cfg=neuron, init_cfg=init_cfg)
    net.init_weights()
    expected = weights['block3.1.attn.proj_conv.0.conv2.0.weight'].unsqueeze(-1)
    assert torch.equal(net.stages[3].blocks[1].attn.out.conv.pointwise2.weight, expected)
    other = torch.nn.ModuleDict(dict(backbone=SDTV3Large(ARCH)))
    with pytest.raises(NeuronMismatchError, match=r'D=8.*D=4'):
        load_checkpoint(other, str(target), 'cpu')


def test_a_branch_of_mixed_form_is_refused(weights):
    name = 'block3.0.rep_conv.conv1.1.weight'
    mixed = {**weights, name: wide(weights)[name]}
    with pytest.raises(ValueError, match=rf'{name} has shape \(192,\), the model wants \(128,\)'):
        convert_sdtv3_large(mixed)


def test_another_model_is_refused_by_name(weights):
    for convert, own in ((convert_sdtv3, 'SDT v3 base'), (convert_sdtv2, 'SDT v2')):
        with pytest.raises(ValueError, match=rf'expected an {own} .* an SDT v3 large classifier'):
            convert(weights)
    others = {
        'SDT v3 base': Case.load('sdtv3_base_t_train').weights(),
        'SDT v2': dict.fromkeys(
            ('downsample1_1.encode_conv.weight', 'ConvBlock1_1.0.Conv.pwconv1.weight')
        ),
    }
    for name, other in others.items():
        with pytest.raises(ValueError, match=f'expected an SDT v3 large .* looks like an {name}'):
            convert_sdtv3_large(other)
