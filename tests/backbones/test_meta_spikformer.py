import copy
import json

import pytest
import torch
from mmengine.registry import MODELS

from mmspike import set_timesteps
from mmspike.backbones import MetaSpikformer
from mmspike.backbones.meta_spikformer import ARCHS
from mmspike.converters.sdtv3 import rename_key
from mmspike.layers import DropPath
from mmspike.neurons import NeuronMismatchError, set_stateful
from support.neuron_outputs import compare_neurons, name_by_layer
from support.parity import agrees, compare
from support.reference_cases import DATA, Case, cases
from support.reference_sdtv3 import Sdtv3Classifier

SMALL_ARCH = dict(embed_dims=(4, 6, 8, 16, 16), depths=(1, 1, 1, 1, 2), num_heads=4, stem_stride=1)


def tiny_net(**kwargs):
    return MetaSpikformer(SMALL_ARCH, **kwargs)


@pytest.mark.parametrize(
    ('arch', 'parameters'),
    [('tiny', 2_702_048), ('small', 5_105_608), ('medium', 10_023_112), ('large', 18_987_504)],
)
def test_parameter_count_is_the_reference_count(arch, parameters):
    with torch.device('meta'):
        net = MetaSpikformer(arch)
    classifier = net.out_channels[0] * 1000 + 1000
    assert sum(p.numel() for p in net.parameters()) + classifier == parameters


@pytest.mark.parametrize(('depths', 'variant'), [((6, 2), '19M'), ((1, 0), 'gesture')])
def test_parameter_count_of_the_event_forms_is_the_reference_count(depths, variant):
    variants = json.loads((DATA / 'sdtv3_hardvs_counts.json').read_text())['variants']
    (reference,) = (counts for name, counts in variants.items() if variant in name)
    arch = dict(ARCHS['large'], depths=(1, 1, 2, *depths))
    with torch.device('meta'):
        net = MetaSpikformer(arch, in_channels=2, layer_scale_init_value=1e-6)
    classifier = (net.out_channels[0] + 1) * reference['constructor']['num_classes']
    count = sum(p.numel() for p in net.parameters()) + classifier
    assert count == reference['parameters_total']


@pytest.mark.parametrize('case', [*cases('sdtv3_base'), *cases('sdtv3_hardvs')])
def test_outputs_features_and_gradients_equal_the_reference(case):
    assert [row for row in compare(case) if not agrees(case, row)] == []


# A neuron of the reference -> a weight of the layer that it stands before, or in q, k, v behind.
LAYERS = {
    'encode_spike': 'encode_conv.weight',
    'conv.spike1': 'pwconv1.0.weight',
    'conv.spike2': 'dwconv.0.weight',
    'conv.spike3': 'pwconv2.0.weight',
    'spike1': 'conv1.weight',
    'spike2': 'conv2.weight',
    'q_spike': 'q_conv.0.weight',
    'k_spike': 'k_conv.0.weight',
    'v_spike': 'v_conv.0.weight',
    'attn_spike': 'proj_conv.0.weight',
    'head_spike': 'q_conv.0.weight',
    'fc1_spike': 'fc1_conv.weight',
    'fc2_spike': 'fc2_conv.weight',
}


def test_every_neuron_fires_as_in_the_reference():
    case = Case.load('sdtv3_base_s')
    assert compare_neurons(Sdtv3Classifier(case), case, name_by_layer(LAYERS, rename_key)) == 105


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (1, 40)])
def test_published_channels_and_strides_are_true(size):
    net = MetaSpikformer('tiny', out_indices=(0, 1, 2, 3, 4))
    assert net.out_strides == (2, 4, 8, 16, 16)
    for feature, channels, stride in zip(
        net(torch.rand(2, 3, *size)), net.out_channels, net.out_strides, strict=True
    ):
        assert feature.shape == (2, channels, *(-(-side // stride) for side in size))


def test_stem_stride_and_out_indices():
    net = tiny_net(out_indices=(3, 1)).eval()
    assert net.out_strides == (2, 8)
    assert net.out_channels == (6, 16)
    shapes = [tuple(out.shape) for out in net(torch.rand(1, 3, 16, 16))]
    assert shapes == [(1, 6, 8, 8), (1, 16, 2, 2)]


def test_stages_behind_the_last_output_are_not_built():
    net = tiny_net(out_indices=(0, 2))
    assert len(net.stages) == 3
    net(torch.rand(2, 3, 8, 8))[-1].sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.load_state_dict(tiny_net().state_dict(), strict=False)


def test_stateful_neurons_and_recomputation_exclude_each_other():
    net = tiny_net(with_cp=True, neuron_cfg=dict(type='mmspike.LIF'))
    set_stateful(net)
    with pytest.raises(RuntimeError, match='with_cp=True runs every neuron twice'):
        net(torch.rand(2, 3, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize('neuron', ['SFA', 'LIF', 'PLIF', 'ILIF'])
def test_compiles_into_one_graph(neuron):
    net = tiny_net(neuron_cfg=dict(type=f'mmspike.{neuron}'), timesteps=2).eval()
    x = torch.randn(2, 3, 8, 8)
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x)[0], net(x)[0])


@pytest.mark.parametrize('as_list', [False, True])
def test_initialisation_by_config(as_list):
    init_cfg = dict(type='Constant', layer='Conv2d', val=0.125)
    net = tiny_net(init_cfg=[init_cfg] if as_list else init_cfg)
    net.init_weights()
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all((m.weight == 0.125).all() for m in convolutions)


def test_second_initialisation_changes_nothing():
    net = tiny_net()
    net.init_weights()
    before = net.stages[0].downsample.conv.weight.clone()
    net.init_weights()
    assert torch.equal(net.stages[0].downsample.conv.weight, before)


NEURONS = [
    dict(type='mmspike.SFA', D=2, rounding='half_up', grad_window='strict'),
    dict(type='mmspike.ILIF', D=4),
    dict(type='mmspike.IF'),
    dict(type='mmspike.LIF', v_reset=None, surrogate='atan'),
    dict(type='mmspike.PLIF', decay_input=False),
]


@pytest.mark.parametrize('neuron', NEURONS, ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('timesteps', [1, 3])
def test_any_neuron_trains_every_parameter(neuron, timesteps):
    net = tiny_net(neuron_cfg=neuron, timesteps=timesteps)
    out = net(torch.randn(4, 3, 16, 16) * 3)[0]
    assert out.shape[0] == timesteps * 4
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_time_steps_of_a_stateless_neuron_are_independent():
    net = tiny_net(timesteps=3).eval()
    frames = torch.randn(2, 3, 3, 16, 16)
    together = net(frames)[0].unflatten(0, (3, 2))
    set_timesteps(net, 1)
    for t in range(3):
        torch.testing.assert_close(net(frames[:, t])[0], together[t])


def test_readout_is_the_mean_over_time():
    net = tiny_net(timesteps=4, neuron_cfg=dict(type='mmspike.LIF'))
    with_readout = tiny_net(timesteps=4, neuron_cfg=dict(type='mmspike.LIF'), readout=True)
    with_readout.load_state_dict(net.state_dict())
    image = torch.randn(2, 3, 16, 16)
    steps = net(image)[0].unflatten(0, (4, 2))
    assert not torch.equal(steps[0], steps[3])
    torch.testing.assert_close(with_readout(image)[0], steps.mean(0))


def test_frozen_stages_and_norm_eval():
    net = tiny_net(frozen_stages=1, norm_eval=True)
    net.train()
    before = copy.deepcopy(net.state_dict())
    net(torch.randn(2, 3, 16, 16))[0].sum().backward()
    for name, parameter in net.named_parameters():
        frozen = name.startswith(('stages.0.', 'stages.1.'))
        assert parameter.requires_grad is not frozen
        assert (parameter.grad is None) is frozen
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not net.stages[0].training
    assert net.stages[4].training


def test_checkpointing_changes_neither_gradients_nor_statistics():
    plain = tiny_net().train()
    recomputing = tiny_net(with_cp=True).train()
    recomputing.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 16, 16)
    saved = []
    for net in (plain, recomputing):
        count = 0

        def pack(tensor):
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = net(image)[0].square().mean()
        saved.append(count)
        loss.backward()
    assert saved[1] < saved[0] / 2
    for (name, a), b in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), recomputing.buffers(), strict=True):
        assert torch.equal(a, b), name


def test_layer_scale_multiplies_the_branches():
    scaled = tiny_net(layer_scale_init_value=0.0)
    plain = tiny_net()
    plain.load_state_dict(scaled.state_dict(), strict=False)
    image = torch.randn(2, 3, 16, 16)
    x = image
    for stage in plain.stages[:3]:
        x = stage(x)
    for stage in plain.stages[3:]:
        x = stage.downsample(x)
    torch.testing.assert_close(scaled(image)[0], x)
    assert not torch.allclose(plain(image)[0], x)


def test_stochastic_depth_rises_linearly_and_is_applied():
    net = tiny_net(drop_path_rate=0.5)
    rates = [module.drop_prob for module in net.modules() if isinstance(module, DropPath)]
    assert rates == [0.0, 0.25, 0.5]
    net.train()
    image = torch.randn(1, 3, 16, 16)
    outputs = {net(image)[0].sum().item() for _ in range(12)}
    assert len(outputs) > 1
    assert tiny_net().stages[4].blocks[1].drop_path.drop_prob == 0


def test_torch_initialisation_is_kept_as_in_the_reference():
    net = tiny_net()
    net.init_weights()
    weight = net.stages[2].blocks[0].conv1.conv.weight
    bound = weight[0].numel() ** -0.5  # kaiming_uniform with a = sqrt(5)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone', None])
def test_pretrained_weights(tmp_path, prefix):
    source = tiny_net()
    holder = torch.nn.ModuleDict(dict(backbone=source)) if prefix else source
    torch.save(dict(state_dict=holder.state_dict()), tmp_path / 'w.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))
    if prefix:
        init_cfg['prefix'] = prefix
    net = tiny_net(init_cfg=init_cfg)
    net.init_weights()
    for (name, a), b in zip(source.state_dict().items(), net.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    other = tiny_net(init_cfg=init_cfg, neuron_cfg=dict(type='mmspike.SFA', D=8))
    with pytest.raises(NeuronMismatchError, match=r'D=4.*D=8'):
        other.init_weights()
    tuned = dict(type='mmspike.SFA', D=8, on_mismatch='warn')
    with pytest.warns(UserWarning, match='D=4'):
        tiny_net(init_cfg=init_cfg, neuron_cfg=tuned).init_weights()


def test_bfloat16_autocast_trains():
    net = tiny_net()
    with torch.autocast('cpu', torch.bfloat16):
        out = net(torch.randn(2, 3, 16, 16))[0]
        loss = out.float().square().mean()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(arch='huge'), ValueError, "unknown arch 'huge'; known are tiny, small"),
        (dict(arch=dict(embed_dims=(1, 2))), ValueError, r"exactly the keys .* got \['embed_dims'"),
        (
            dict(arch=dict(SMALL_ARCH, depths=(1, 1))),
            ValueError,
            r'depths .* 5 stages, got \(1, 1\)',
        ),
        (dict(arch=dict(SMALL_ARCH, num_heads=3)), ValueError, 'embed_dims=16 .* num_heads=3'),
        (dict(out_indices=(5,)), ValueError, r'out_indices .* got \(5,\)'),
        (dict(out_indices=()), ValueError, 'out_indices'),
        (dict(out_indices=(2, 2)), ValueError, r'each once, got \(2, 2\)'),
        (dict(frozen_stages=5), ValueError, 'frozen_stages .* got 5'),
        (dict(timesteps=0), ValueError, 'timesteps must be at least 1, got 0'),
        (dict(timesteps=-2), ValueError, 'got -2'),
        (dict(timesteps=2.0), TypeError, 'timesteps must be an int, got 2.0'),
        (dict(neuron_cfg=dict(type='mmspike.SFA', D=0)), ValueError, 'D must be .* got 0'),
        (dict(neuron_cfg=dict(type='mmspike.SFA', D=-4)), ValueError, 'D must be .* got -4'),
        (dict(neuron_cfg=dict(type='mmspike.Izhikevich')), KeyError, 'Izhikevich is not in'),
        (dict(neuron_cgf=dict()), TypeError, "unexpected keyword argument 'neuron_cgf'"),
        (dict(drop_path_rate=1.0), ValueError, r'drop_prob must lie in \[0, 1\), got 1.0'),
    ],
    ids=str,
)
def test_bad_options(options, error, message):
    options = dict(dict(arch=SMALL_ARCH), **options)
    with pytest.raises(error, match=message):
        MODELS.build(dict(type='mmspike.MetaSpikformer', **options))


@pytest.mark.parametrize(
    ('x', 'message'),
    [
        (torch.rand(1, 1, 8, 8), r'has 1 channels .* in_channels=3'),
        (torch.rand(3, 8, 8), r'got shape \(3, 8, 8\)'),
        (torch.rand(1, 2, 3, 8, 8), r'holds 2 frames .* T=1'),
        (torch.full((1, 3, 8, 8), float('nan')), '192 NaN or infinite'),
        (torch.rand(1, 3, 8, 8).log_().mul_(0).div_(0), 'NaN'),
    ],
)
def test_bad_input(x, message):
    with pytest.raises(ValueError, match=message):
        tiny_net()(x)


def test_huge_but_finite_input_is_accepted():
    tiny_net().eval()(torch.full((1, 3, 8, 8), 3e38))


def test_gradients_of_a_batch_of_one_are_half_of_those_of_the_image_twice():
    """PyTorch's batch norm can go wrong for a batch of one; see docs/parity.md."""
    net = tiny_net().eval()
    image = torch.randn(1, 3, 64, 64)
    cotangent = torch.randn(1, 16, 8, 8)
    net(image)[0].backward(cotangent)
    single = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net(image.repeat(2, 1, 1, 1))[0].backward(cotangent.repeat(2, 1, 1, 1))
    for ours, parameter in zip(single, net.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad / 2, rtol=1e-4, atol=1e-5)
