import copy
import json
import runpy
import sys

import pytest
import torch

from mmspike import set_timesteps
from mmspike.backbones import SDTV2
from mmspike.converters.sdtv2 import rename_key
from mmspike.energy import EnergyCounter
from mmspike.execution import check_spike_driven, set_execution
from mmspike.layers import RepConv
from mmspike.neurons import BaseNeuron
from support.firing_networks import give_statistics
from support.neuron_outputs import compare_neurons, name_by_layer
from support.parity import agrees, compare
from support.reference_cases import DATA, Case, cases
from support.reference_sdtv2 import SDTV2Classifier

SMALL_ARCH = dict(embed_dims=(4, 6, 8, 16, 16), depths=(1, 1, 1, 1, 2), num_heads=4, stem_stride=1)
COUNTS = json.loads((DATA / 'meta_spikeformer_v2_counts.json').read_text())['variants']
DENSE_COUNTS = json.loads((DATA / 'meta_spikeformer_v2_dense_counts.json').read_text())['variants']
NAMES = {'8_384': '31M', '8_512': '55M', '8_768': '124M', 'widths': '15M'}
# The only layers that take real numbers: the image, and what no neuron stands before.
ANALOG = {
    'stages.0.downsample.conv',
    *(f'stages.{i}.blocks.0.sep_conv.pointwise2.conv' for i in range(3)),
}


def tiny_net(**kwargs):
    return SDTV2(SMALL_ARCH, **dict(dict(timesteps=2), **kwargs))


def firing_net(**kwargs):
    """A network whose neurons fire, and images for it."""
    torch.manual_seed(0)
    net, x = tiny_net(**kwargs).eval(), torch.randn(2, 3, 16, 16)
    for conv in net.modules():
        if isinstance(conv, torch.nn.Conv2d):
            torch.nn.init.normal_(conv.weight, std=3 / conv.weight[0].numel() ** 0.5)
    give_statistics(net, lambda: net(x))
    return net.eval(), x


@pytest.mark.parametrize('variant', COUNTS)
def test_parameter_count_is_the_reference_count(variant):
    name = NAMES[variant.removeprefix('metaspikformer_').split()[0]]
    with torch.device('meta'):
        net = SDTV2(name)
    classifiers = (1 + variant.endswith('kd=True')) * (net.out_channels[0] * 1000 + 1000)
    ours = sum(p.numel() for p in net.parameters()) + classifiers
    assert ours == COUNTS[variant]['parameters_total']


@pytest.mark.parametrize('variant', DENSE_COUNTS)
def test_parameter_count_of_a_backbone_is_the_reference_count(variant):
    with torch.device('meta'):
        net = SDTV2(variant.split()[1])
    assert sum(p.numel() for p in net.parameters()) == DENSE_COUNTS[variant]['parts']['backbone']


@pytest.mark.parametrize('case', cases('meta_spikeformer_v2'))
def test_outputs_features_and_gradients_equal_the_reference(case):
    rows = compare(case)
    assert len(rows) > 10
    assert [row for row in rows if not agrees(case, row)] == []


# A neuron of the reference -> a weight of the layer that it stands before, or in q, k, v behind.
LAYERS = {
    'encode_lif': 'encode_conv.weight',
    'conv.lif1': 'pwconv1.weight',
    'conv.lif2': 'dwconv.weight',
    'lif1': 'conv1.weight',
    'lif2': 'conv2.weight',
    'q_lif': 'q_conv.1.weight',
    'k_lif': 'k_conv.1.weight',
    'v_lif': 'v_conv.1.weight',
    'attn_lif': 'proj_conv.1.weight',
    'head_lif': 'q_conv.1.weight',
    'fc1_lif': 'fc1_conv.weight',
    'fc2_lif': 'fc2_conv.weight',
}


def test_every_neuron_fires_as_in_the_reference():
    case = Case.load('meta_spikeformer_v2')
    assert compare_neurons(SDTV2Classifier(case), case, name_by_layer(LAYERS, rename_key)) == 77


def test_thresholds_of_the_neurons():
    net = tiny_net()
    low = {
        name for name, neuron in net.named_modules()
        if isinstance(neuron, BaseNeuron) and neuron.threshold == 0.5
    }  # fmt: skip
    assert low == {f'stages.{i}.blocks.{j}.attn.out.activate' for i, j in ((3, 0), (4, 0), (4, 1))}
    other = tiny_net(out_neuron_cfg=dict(type='mmspike.LIF', threshold=2.0))
    assert other.stages[3].blocks[0].attn.out.activate.threshold == 2.0
    tiny_net(neuron_cfg=dict(type='mmspike.SFA'))(torch.rand(2, 3, 8, 8))  # has no threshold


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (1, 40)])
def test_published_channels_and_strides_are_true(size):
    net = SDTV2('15M', out_indices=(0, 1, 2, 3, 4)).eval()
    assert net.out_strides == (2, 4, 8, 16, 16)
    for feature, channels, stride in zip(
        net(torch.rand(1, 3, *size)), net.out_channels, net.out_strides, strict=True
    ):
        assert feature.shape == (1, channels, *(-(-side // stride) for side in size))


def test_spikes_equal_integers_and_what_takes_real_numbers_is_named():
    net, x = firing_net()
    with torch.no_grad():
        expected = net(x)[0]
        set_execution(net, 'spike')
        torch.testing.assert_close(net(x)[0], expected, atol=1e-3, rtol=1e-3)
        inputs = check_spike_driven(net, lambda: net(x))
    assert {one.layer for one in inputs if one.declared} == ANALOG
    assert {one.layer for one in inputs if not one.binary} == ANALOG
    assert len(inputs) == 41


def test_energy_is_counted_on_the_folded_network():
    net, x = firing_net()
    with torch.no_grad(), EnergyCounter(net, strict=True) as counter:
        net(x)
    layers = counter.counts().layers
    assert not any('pointwise1.' in name for name in layers if '.attn.' in name)
    assert {name for name, count in layers.items() if count.analog_macs} == ANALOG
    attention = layers['stages.3.blocks.0.attn.q.conv']
    assert attention.macs == 4 * 2 * 2 * 16 * 16 * 9  # a dense 3x3 convolution
    deployed = copy.deepcopy(net)
    deployed.switch_to_deploy()
    with torch.no_grad(), EnergyCounter(deployed, strict=True) as folded:
        deployed(x)
    assert {k: c.macs for k, c in folded.counts().layers.items()} == {
        k: c.macs for k, c in layers.items()
    }


def test_deployed_weights_need_a_deployed_network():
    net, x = firing_net()
    trained = copy.deepcopy(net)
    net.switch_to_deploy()
    assert not any(isinstance(module, RepConv) for module in net.modules())
    torch.testing.assert_close(net(x)[0], trained(x)[0], atol=1e-3, rtol=1e-3)
    other = tiny_net(deploy=True).eval()
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other(x)[0], net(x)[0])
    with pytest.raises(ValueError, match=r'stages.3.blocks.0.attn.q.conv as one .*deploy=True'):
        tiny_net().load_state_dict(net.state_dict())


def test_one_step_is_expanded_to_four():
    net, x = firing_net(timesteps=1)
    one = net(x)[0]
    set_timesteps(net, 4)
    four = net(x)[0].unflatten(0, (4, 2))
    torch.testing.assert_close(four[0], one)
    assert not torch.equal(four[1], four[0])


@pytest.mark.parametrize(
    ('arch', 'message'),
    [
        ('16M', "unknown arch '16M'; known are 15M, 31M, 55M, 124M"),
        (dict(SMALL_ARCH, depths=(1, 1)), 'depths .* one number for each of the 5 stages'),
        (dict(SMALL_ARCH, depths=3), 'depths .* one number for each of the 5 stages, got 3'),
        (dict(SMALL_ARCH, depths=(1, 1, 1, 1, -1)), 'depths .* whole numbers from 0 on'),
        (dict(SMALL_ARCH, embed_dims='abcde'), "embed_dims .* from 1 on, got 'abcde'"),
        (dict(SMALL_ARCH, num_heads=0), 'num_heads .* from 1 on, got 0'),
        (dict(SMALL_ARCH, stem_stride='2'), "stem_stride .* from 1 on, got '2'"),
    ],
)
def test_an_arch_that_is_none(arch, message):
    with pytest.raises(ValueError, match=message):
        SDTV2(arch)


@pytest.mark.slow
def test_the_tool_of_mmpretrain_folds_a_checkpoint(tmp_path, monkeypatch):
    import mmpretrain
    from mmengine.config import Config
    from mmpretrain.apis import init_model

    head = dict(
        type='mmspike.SpikeLinearClsHead', num_classes=3, in_channels=16, timesteps=2,
        neuron_cfg=dict(type='mmspike.LIF'),
    )  # fmt: skip
    backbone = dict(type='mmspike.SDTV2', arch=SMALL_ARCH, timesteps=2)
    model = dict(
        type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head
    )
    cfg = Config(dict(model=model, default_scope='mmpretrain', dataset_type='CIFAR10'))
    cfg.dump(tmp_path / 'config.py')
    trained = init_model(cfg, device='cpu')
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'trained.pth')
    tool = f'{mmpretrain.__path__[0]}/.mim/tools/model_converters/reparameterize_model.py'
    names = ('config.py', 'trained.pth', 'deployed.pth')
    monkeypatch.setattr(sys, 'argv', [tool, *(str(tmp_path / name) for name in names)])
    runpy.run_path(tool, run_name='__main__')
    cfg.model.backbone.deploy = True
    deployed = init_model(cfg, str(tmp_path / 'deployed.pth'), device='cpu')
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(deployed(x), trained(x), atol=1e-3, rtol=1e-3)
