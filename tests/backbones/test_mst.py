import json

import numpy as np
import pytest
import torch
from torch import nn

from mmspike import get_timesteps, set_timesteps
from mmspike.ann2snn import convert_to_spiking, simulate
from mmspike.backbones import MST
from mmspike.converters.mst import rename_key
from mmspike.layers import SpikeWindowAttention
from mmspike.neurons import BaseNeuron, set_stateful
from support.neuron_outputs import compare_neurons
from support.parity import agrees, compare
from support.reference_cases import DATA, Case, cases
from support.reference_mst import MstClassifier
from support.spiking_distances import distances, reference_distances
from support.weights_alone import weights_alone

ARCH = dict(embed_dims=8, depths=(2, 2), num_heads=(2, 4), window_size=4)
RELU = dict(type='ReLU')
QCFS = dict(type='mmspike.QCFS', levels=16)
SPIKING = dict(type='mmspike.SpikingQCFS')


def small_net(**options):
    options = dict(dict(out_indices=(0, 1), neuron_cfg=QCFS), **options)
    net = MST(ARCH, **options)
    net.init_weights()
    # Large enough to fire, with norms that are no identity.
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, 2 * fan_in**-0.5, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, SpikeWindowAttention):
            module.relative_position_bias_table.data.normal_(0, 1, generator=generator)
    return net.eval()


@pytest.mark.parametrize('case', cases('mst'))
def test_outputs_statistics_and_gradients_equal_the_reference(case):
    """The spiking network's outputs up to the first flipped spike, and as near as can be after."""
    rows = compare(case)
    assert len(rows) == 5 or '_snn_' not in case
    assert [row for row in rows if not agrees(case, row)] == []


@pytest.mark.parametrize('case', cases('mst_snn'))
def test_distance_from_the_quantised_network_is_the_reference_distance(case):
    theirs = reference_distances(case)
    for readout, ours in distances(case).items():
        assert ours == pytest.approx(theirs[readout], abs=3e-3), readout
        assert ours[-1] < ours[0] / 2


def test_read_out_normalises_the_mean_over_time():
    case = Case.load('mst_snn_imagenet_w7')
    with torch.no_grad():
        logits = MstClassifier(case, timesteps=16, readout=True)(case.input())['logits']
    np.testing.assert_allclose(
        logits.numpy(), case.numbers['output/norm_after_averaging'][15], atol=1e-5
    )


@pytest.mark.parametrize('readout', [False, True])
def test_converted_and_simulated_in_chunks_it_is_the_reference_spiking_network(readout):
    quantised = MstClassifier(Case.load('mst_qcfs_imagenet_w7'), readout=readout)
    spiking = convert_to_spiking(quantised)
    simulate(spiking, 16, chunk=5)
    case = Case.load('mst_snn_imagenet_w7')
    expected = case.numbers['output/' + ('norm_after_averaging' if readout else 'cumulative_mean')]
    with torch.no_grad():
        logits = spiking(case.input())['logits']
    np.testing.assert_allclose(logits.numpy(), expected[15], atol=1e-5)


@pytest.mark.parametrize(
    'name', ['mst_relu_cifar10_w7', 'mst_qcfs_imagenet_w4', 'mst_snn_imagenet_w7']
)
def test_every_neuron_puts_out_what_the_reference_does(name):
    case = Case.load(name)
    model = MstClassifier(case, timesteps=64 if 'snn' in name else 1)
    compare_neurons(
        model, case, lambda theirs: rename_key(f'{theirs}.up').removesuffix('.threshold'),
        kinds=(BaseNeuron, nn.ReLU), rel=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('variant', 'options', 'classes'),
    [
        ('MST.yaml imagenet, ReLU', dict(neuron_cfg=RELU), 1000),
        (
            'MST.yaml imagenet, quantised (adds one threshold per activation)',
            dict(neuron_cfg=QCFS),
            1000,
        ),
        ('same, dataset cifar10, 10 classes, quantised', dict(mlp_norm=False), 10),
    ],
)
def test_parameter_count_is_the_reference_count(variant, options, classes):
    with torch.device('meta'):
        net = MST('tiny', **options)
    head = net.out_channels[0] * classes + classes
    expected = json.loads((DATA / 'mst_counts.json').read_text())['variants'][variant]
    assert sum(p.numel() for p in net.parameters()) + head == expected['parameters_total']


@pytest.mark.parametrize('size', [(70, 53), (32, 32), (33, 8), (1, 1), (96, 130)])
def test_published_channels_and_strides_are_true(size):
    net = small_net()
    assert net.out_strides == (4, 8)
    with torch.no_grad():
        outs = net(torch.rand(2, 3, *size))
    for out, channels, stride in zip(outs, net.out_channels, net.out_strides, strict=True):
        assert out.shape == (2, channels, *(-(-side // stride) for side in size))
        assert out.isfinite().all()


def test_padding_of_the_image_is_zeros_only():
    net = small_net()
    image = torch.randn(1, 3, 30, 41)
    padded = torch.nn.functional.pad(image, (0, 3, 0, 2))
    with torch.no_grad():
        for ours, theirs in zip(net(image), net(padded), strict=True):
            torch.testing.assert_close(ours, theirs)


NEURONS_OF_A_BLOCK = [
    *('neuron1', 'attn.q_neuron', 'attn.k_neuron', 'attn.v_neuron', 'attn.map_neuron'),
    *('attn.out_neuron', 'attn.proj.activate', 'neuron2', 'mlp.fc1.activate', 'mlp.fc2.activate'),
]


def test_neurons_can_be_picked_by_name():
    names = [name for name, m in small_net().named_modules() if isinstance(m, BaseNeuron)]
    blocks = [
        [f'stages.{i}.blocks.{j}.{name}' for j in (0, 1) for name in NEURONS_OF_A_BLOCK]
        for i in (0, 1)
    ]
    expected = [
        'stages.0.downsample.neuron',
        *blocks[0],
        'stages.1.downsample.activate',
        *blocks[1],
    ]
    assert sorted(names) == sorted(expected)


def test_the_three_forms_have_the_same_weights_but_for_the_thresholds():
    relu, qcfs, spiking = (small_net(neuron_cfg=cfg) for cfg in (RELU, QCFS, SPIKING))
    weights = weights_alone(qcfs.state_dict())
    thresholds = {key for key in weights if key.endswith('.threshold')}
    assert len(thresholds) == len(qcfs.state_dict()) - len(weights) == 42
    assert set(weights) - set(relu.state_dict()) == thresholds
    assert list(spiking.state_dict()) == list(qcfs.state_dict())
    spiking.load_state_dict(qcfs.state_dict())
    relu.load_state_dict({k: v for k, v in weights.items() if k not in thresholds})


def test_spikes_come_near_the_quantised_network():
    quantised = small_net(out_indices=(0,)).double()
    spiking = small_net(out_indices=(0,), neuron_cfg=SPIKING, readout=True).double()
    spiking.load_state_dict(quantised.state_dict())
    image = torch.randn(2, 3, 30, 22, dtype=torch.float64)
    gaps = []
    with torch.no_grad():
        for timesteps in (4, 128):
            set_timesteps(spiking, timesteps)
            gaps.append((spiking(image)[0] - quantised(image)[0]).abs().mean())
    assert gaps[1] < gaps[0] / 3


def test_an_image_is_embedded_once_and_frames_at_every_step():
    net = small_net(neuron_cfg=SPIKING, timesteps=3)
    sizes = []
    projection = net.stages[0].downsample.projection
    projection.register_forward_hook(lambda module, _, out: sizes.append(len(out)))
    image = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        outs = net(image)
        frames = net(image.unsqueeze(1).repeat(1, 3, 1, 1, 1))
    assert sizes == [2, 6]
    for ours, theirs in zip(outs, frames, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert len(ours) == 6


def test_chunks_of_time_equal_one_call():
    net = small_net(neuron_cfg=SPIKING, timesteps=8)
    image = torch.randn(2, 3, 24, 20)
    with torch.no_grad():
        whole = net(image)[-1]
        set_stateful(net)
        set_timesteps(net, 4)
        parts = [net(image)[-1] for _ in range(2)]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_event_frames_are_aligned_to_the_channels_of_images():
    net = small_net(in_channels=2, channel_align=True, neuron_cfg=SPIKING, timesteps=2)
    projection = net.stages[0].downsample.projection.conv
    assert projection.in_channels == 3
    assert 'stages.0.downsample.align' in net.analog_layers
    events = torch.rand(2, 2, 2, 24, 24)
    assert net(events)[0].shape == (4, 8, 6, 6)
    with pytest.raises(ValueError, match='the input has 3 channels'):
        net(torch.rand(2, 3, 24, 24))
    images = small_net()
    rest = {k: v for k, v in images.state_dict().items() if '.align.' not in k}
    assert set(net.load_state_dict(rest, strict=False).missing_keys) == {
        'stages.0.downsample.align.weight',
        'stages.0.downsample.align.bias',
    }


@pytest.mark.parametrize('neuron', [RELU, QCFS, SPIKING], ids=lambda cfg: cfg['type'])
def test_trains_every_parameter_and_recomputes_the_same(neuron):
    image = torch.randn(2, 3, 24, 20)
    grads = []
    for with_cp in (False, True):
        net = small_net(neuron_cfg=neuron, with_cp=with_cp, timesteps=2).train()
        torch.manual_seed(0)
        net.stages[0].downsample(image)  # the first call picks kernels
        outs = net(image)
        sum((out * torch.arange(out.numel()).view_as(out).cos()).sum() for out in outs).backward()
        grads.append({name: p.grad for name, p in net.named_parameters()})
    for name, grad in grads[0].items():
        # A mask lets some offsets meet nowhere but in padding.
        assert grad is not None, name
        assert grad.count_nonzero() > 0, name
        torch.testing.assert_close(grads[1][name], grad, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize('neuron', [QCFS, SPIKING], ids=lambda cfg: cfg['type'])
def test_channels_of_a_token_lie_together(neuron):
    net = small_net(neuron_cfg=neuron, timesteps=2)
    seen = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and '.projection.' not in name:
            module.register_forward_pre_hook(
                lambda module, args, name=name: seen.append(
                    (name, args[0].is_contiguous(memory_format=torch.channels_last))
                )
            )
    with torch.no_grad():
        net(torch.randn(2, 3, 32, 32))
    assert len(seen) == 2 + 4 * 8
    assert [name for name, together in seen if not together] == []


def test_stochastic_depth_rises_to_its_rate():
    net = MST(ARCH, out_indices=(1,), drop_path_rate=0.3)
    rates = [block.drop_path.drop_prob for stage in net.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_the_last_norm_belongs_to_the_last_stage():
    assert small_net(out_indices=(0,)).norm is None
    net = small_net()
    with torch.no_grad():
        first, last = net(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(last.mean(1), torch.zeros(2, 4, 4), atol=1e-5, rtol=0)
    assert first.mean(1).abs().max() > 0.1


def test_initialisation_is_that_of_swin():
    net = MST(dict(ARCH, embed_dims=32), out_indices=(1,))
    net.init_weights()
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and not name.endswith('projection.conv'):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15), name
            assert module.bias is None or module.bias.abs().max() == 0, name
        if isinstance(module, SpikeWindowAttention):
            table = module.relative_position_bias_table
            assert table.std().item() == pytest.approx(0.02, rel=0.4), name
    before = net.stages[0].blocks[0].attn.qkv.weight.clone()
    net.init_weights()
    assert torch.equal(net.stages[0].blocks[0].attn.qkv.weight, before)


def test_initialisation_by_config():
    net = MST(ARCH, out_indices=(1,), init_cfg=dict(type='Constant', layer='Conv2d', val=0.125))
    net.init_weights()
    assert all((m.weight == 0.125).all() for m in net.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.slow
def test_compiles_into_one_graph():
    net = small_net(neuron_cfg=SPIKING, timesteps=2)
    image = torch.randn(2, 3, 18, 18)
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        for ours, theirs in zip(compiled(image), net(image), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_frozen_stages_include_the_embedding():
    net = small_net(frozen_stages=0).train()
    assert not net.stages[0].downsample.projection.bn.training
    assert net.stages[1].blocks[0].norm1.training
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert frozen == [name for name, _ in net.named_parameters() if name.startswith('stages.0.')]
    assert get_timesteps(net) == 1


@pytest.mark.parametrize(
    ('arch', 'message'),
    [
        ('huge', "unknown arch 'huge'; known are tiny"),
        (dict(ARCH, mlp=4), 'needs exactly the keys'),
        (
            dict(ARCH, num_heads=(2, 4, 8)),
            'num_heads of an arch needs one number for each of the 2',
        ),
        (dict(ARCH, window_size=(4,)), 'window_size of an arch needs one number'),
        (dict(ARCH, num_heads=(3, 4)), 'embed_dims=8 must be a multiple of num_heads=3'),
        (3, r'arch must be a name \(tiny\) or a dict, got 3 \(int\)'),
        (dict(ARCH, depths=3), 'depths of an arch needs one number for each stage, got 3'),
        (dict(ARCH, depths=()), r'num_heads of an arch needs one number for each of the 0'),
        (dict(ARCH, num_heads=2), 'num_heads of an arch needs one number .* got 2'),
        (dict(ARCH, num_heads=(0, 4)), r'num_heads .* whole numbers from 1 on, got \(0, 4\)'),
        (dict(ARCH, window_size=0), r'window_size .* whole numbers from 1 on, got \(0, 0\)'),
        (dict(ARCH, embed_dims=8.0), 'embed_dims .* whole numbers from 1 on, got 8.0'),
    ],
)
def test_bad_arch(arch, message):
    with pytest.raises(ValueError, match=message):
        MST(arch, out_indices=(1,))


@pytest.mark.parametrize('neuron', [QCFS, SPIKING], ids=lambda cfg: cfg['type'])
def test_an_empty_batch(neuron):
    net = small_net(neuron_cfg=neuron, timesteps=2)
    shapes = [tuple(out.shape) for out in net(torch.rand(0, 3, 30, 18))]
    assert shapes == [(0, 8, 8, 5), (0, 16, 4, 3)]


@pytest.mark.parametrize('shape', [(3, 32), (3, 32, 32), (1, 1, 1, 3, 32, 32)])
def test_inputs_that_are_neither_images_nor_frames(shape):
    with pytest.raises(ValueError, match=r'images \(B, C, H, W\) or frames .* got shape \('):
        small_net()(torch.rand(shape))
