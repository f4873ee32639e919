import json
import sys
import types
from collections import OrderedDict

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

from mmspike.backbones import MST
from mmspike.converters import convert_file, convert_mst
from mmspike.converters.weights import read_published
from mmspike.masking import get_masking
from mmspike.neurons import NeuronMismatchError
from support.reference_cases import DATA, Case, cases
from support.weights_alone import weights_alone


@pytest.fixture(scope='module')
def weights():
    return Case.load('mst_qcfs_imagenet_w4').weights()


@pytest.fixture
def write_as_published(monkeypatch):
    """Writes all that a published file holds, settings of yacs included, and forgets yacs."""

    class CfgNode(dict):
        """As yacs has it: a dictionary with attributes of its own."""

        def __init__(self, **values):
            super().__init__(values)
            self.__dict__.update(__immutable__=True, __deprecated_keys__=set())

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    package, module = types.ModuleType('yacs'), types.ModuleType('yacs.config')
    package.config, module.CfgNode = module, CfgNode

    def write(path, weights):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, 'yacs', package)
            patch.setitem(sys.modules, 'yacs.config', module)
            content = dict(
                model=weights,
                optimizer=dict(
                    state={0: dict(step=torch.tensor(5.0))}, param_groups=[dict(lr=0.1)]
                ),
                lr_scheduler=dict(base_values=[1e-4], t_initial=300),
                max_accuracy=77.88,
                scaler=dict(scale=65536.0),
                epoch=299,
                config=CfgNode(MODEL=CfgNode(NAME='mst', LAYERS=[2, 2, 6, 2]), AMP_OPT_LEVEL='O1'),
            )
            torch.save(content, path)

    return write


@pytest.mark.parametrize('case', [*cases('mst_relu'), *cases('mst_qcfs')])
def test_every_key_has_a_place(case):
    weights = Case.load(case).weights()
    conversion = convert_mst(weights)
    assert conversion.missing == []
    assert conversion.unexpected == []
    derived = {k for k in weights if k.endswith(('attn_mask', 'relative_position_index'))}
    assert derived
    assert set(conversion.renamed) == set(weights) - derived
    assert sorted(conversion.renamed.values()) == sorted(weights_alone(conversion.state_dict))
    assert conversion.arch['window_size'] == ((4, 4, 4, 2) if 'w4' in case else (7, 7))


def test_the_published_model_is_known_by_name():
    listed = json.loads((DATA / 'mst_counts.json').read_text())['state_dict']
    weights = {
        name: torch.empty(shape, dtype=getattr(torch, dtype), device='meta')
        for name, shape, dtype in listed
    }
    conversion = convert_mst(weights)
    assert conversion.arch == 'tiny'
    assert conversion.missing == conversion.unexpected == []
    with torch.device('meta'):
        net = MST('tiny')
    inside = {
        key.removeprefix('backbone.'): value.shape
        for key, value in conversion.state_dict.items()
        if key.startswith('backbone.')
    }
    assert inside == {key: value.shape for key, value in net.state_dict().items()}


def test_prefix_of_data_parallel_training_is_dropped(weights):
    plain = convert_mst(weights)
    wrapped = convert_mst({f'module.{key}': value for key, value in weights.items()})
    assert list(plain.state_dict) == list(wrapped.state_dict)


def test_settings_become_plain_dictionaries(tmp_path, weights, write_as_published):
    """Newer versions of torch fill dictionaries of these very types, and no subclasses."""
    source = tmp_path / 'published.pth'
    write_as_published(source, weights)
    content = read_published(source)
    settings = content['config']
    assert type(settings) is type(settings['MODEL']) is OrderedDict
    assert settings['MODEL'] == dict(NAME='mst', LAYERS=[2, 2, 6, 2])


@pytest.mark.parametrize(
    'case', ['mst_qcfs_imagenet_w4', 'mst_qcfs_cifar10_w7', 'mst_relu_imagenet_w7']
)
def test_file_round_trip(tmp_path, write_as_published, case):
    weights = Case.load(case).weights()
    source, target = tmp_path / 'published.pth', tmp_path / 'out' / 'converted.pth'
    write_as_published(source, weights)
    assert 'yacs' not in sys.modules
    convert_file(source, target)
    content = torch.load(target, weights_only=True)
    meta = content['meta']['mmspike']
    assert meta['mlp_norm'] == ('imagenet' in case)
    quantised = 'qcfs' in case
    assert meta['neuron'] == (dict(type='QCFS', levels=16) if quantised else dict(type='ReLU'))
    neuron = dict(type='mmspike.QCFS') if quantised else dict(type='ReLU')
    net = MST(
        meta['arch'],
        mlp_norm=meta['mlp_norm'],
        out_indices=(-1,),
        neuron_cfg=neuron,
        init_cfg=dict(type='Pretrained', checkpoint=str(target), prefix='backbone.'),
    )
    net.init_weights()
    block = net.stages[1].blocks[0]
    prefix = 'layers.1.blocks.0'
    assert torch.equal(block.attn.qkv.weight.flatten(1), weights[f'{prefix}.attn.qkv.weight'])
    assert torch.equal(
        net.stages[1].downsample.conv.weight.flatten(1),
        weights['layers.0.downsample.reduction.weight'],
    )
    if quantised:
        assert block.attn.map_neuron.threshold == weights[f'{prefix}.attn.attn_if.up']
    assert [p.name for p in target.parent.iterdir()] == ['converted.pth']


def test_neurons_are_recorded_and_checked(tmp_path, write_as_published, weights):
    source, target = tmp_path / 'published.pth', tmp_path / 'converted.pth'
    write_as_published(source, weights)
    arch = convert_file(source, target).arch

    def model(neuron):
        return nn.ModuleDict(dict(backbone=MST(arch, neuron_cfg=neuron)))

    for fits in (dict(type='mmspike.QCFS', levels=16), dict(type='mmspike.SpikingQCFS')):
        load_checkpoint(model(fits), str(target))
    with pytest.raises(NeuronMismatchError, match=r'QCFS\(levels=16\)'):
        load_checkpoint(model(dict(type='mmspike.QCFS', levels=8)), str(target))


def test_the_masks_of_training_are_recorded(tmp_path, write_as_published, weights):
    """Published weights of 75 % without their masks answer at random, and do not tell."""
    source, target = tmp_path / 'published.pth', tmp_path / 'converted.pth'
    write_as_published(source, weights)
    conversion = convert_file(source, target, masking_ratio=0.75)
    for neuron in (dict(type='mmspike.QCFS'), dict(type='mmspike.SpikingQCFS')):
        net = nn.ModuleDict(
            dict(backbone=MST(conversion.arch, out_indices=(-1,), neuron_cfg=neuron))
        )
        load_checkpoint(net, str(target))
        masked = get_masking(net)
        assert set(masked.values()) == {0.75}
        assert {name.rpartition('.')[2] for name in masked} == {
            'q_neuron', 'k_neuron', 'map_neuron',
        }  # fmt: skip
    with pytest.raises(ValueError, match='masking ratio'):
        convert_mst(weights, masking_ratio=1.0)
    plain = {key: value for key, value in weights.items() if not key.endswith('.up')}
    with pytest.raises(ValueError, match='ReLU have no spikes'):
        convert_mst(plain, masking_ratio=0.75)


def test_missing_and_unexpected_keys_are_reported(weights):
    changed = {k: v for k, v in weights.items() if k != 'layers.2.blocks.1.norm2.bias'}
    changed['layers.2.blocks.1.attn.gate.weight'] = torch.zeros(3)
    changed['head_dist.weight'] = torch.zeros(3)
    conversion = convert_mst(changed)
    assert conversion.missing == ['backbone.stages.2.blocks.1.norm2.bias']
    assert conversion.unexpected == ['layers.2.blocks.1.attn.gate.weight', 'head_dist.weight']


def test_incomplete_or_misshapen_weights_are_refused(tmp_path, weights):
    table = 'layers.1.blocks.0.attn.relative_position_bias_table'
    without = {k: v for k, v in weights.items() if k != table}
    with pytest.raises(
        ValueError, match=r'incomplete: no tensor becomes .*stages\.1\.blocks\.0\.attn'
    ):
        convert_mst(without)
    with pytest.raises(
        ValueError, match=r'fc1\.weight has shape \(7, 24, 1, 1\), .*\(96, 24, 1, 1\)'
    ):
        convert_mst(dict(weights, **{'layers.0.blocks.0.mlp.fc1.weight': torch.zeros(7, 24)}))
    lacking = {k: v for k, v in weights.items() if k != 'norm.bias'}
    torch.save(lacking, tmp_path / 'a.pth')
    with pytest.raises(
        ValueError, match=r'lacks 1 tensors of the model, among them backbone\.norm'
    ):
        convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert not (tmp_path / 'b.pth').exists()


def test_other_families_are_refused_by_name(weights):
    swin = {k: v for k, v in weights.items() if 'running' not in k and not k.endswith('.up')}
    with pytest.raises(ValueError, match=r'expected a Masked .* looks like a Swin transformer'):
        convert_mst(swin)
    with pytest.raises(ValueError, match='looks like an SDT v1 checkpoint'):
        convert_mst(Case.load('sdt_v1_imagenet').weights())


class Dangerous:
    """An object that would run something when loaded."""

    def __reduce__(self):
        return (print, ('loaded',))


def test_other_objects_are_not_loaded(tmp_path, weights, capsys):
    torch.save(dict(model=weights, config=Dangerous()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'refused, and nothing in it was run: .* builtins.print'):
        convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert 'loaded' not in capsys.readouterr().out
