import copy
import json

import pytest
import torch
from mmengine.registry import MODELS

from mmspike import set_timesteps
from mmspike.backbones import SDT
from mmspike.converters.sdt import rename_key
from mmspike.layers import DropPath, SpikeDrivenSelfAttention
from mmspike.necks import SpikeFPN
from mmspike.neurons import LIF, PLIF
from mmspike.recorders.attention_maps import attention_blocks
from support.neuron_outputs import compare_neurons
from support.parity import agrees, compare
from support.reference_cases import DATA, Case, cases
from support.reference_sdt import SDTClassifier

SMALL_ARCH = dict(embed_dims=16, depth=2)
COUNTS = json.loads((DATA / 'sdt_v1_counts.json').read_text())['variants']


def tiny_net(**kwargs):
    return SDT(**dict(dict(arch=SMALL_ARCH, pooling_stat='0011', timesteps=2), **kwargs))


def loud(net, gain=3.0):
    """The same network with weights that make its neurons fire."""
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=gain / module.weight[0].numel() ** 0.5)
    return net


@pytest.mark.parametrize('variant', COUNTS)
def test_parameter_count_is_the_reference_count_less_what_it_never_uses(variant):
    counts = COUNTS[variant]
    options = counts['constructor']
    name = f'{options["depths"]}-{options["embed_dims"]}'
    assert name in variant
    with torch.device('meta'):
        net = SDT(name, in_channels=options['in_channels'])
    classifier = (options['embed_dims'] + 1) * options['num_classes']
    # A convolution between the heads, in every attention.
    never_used = options['depths'] * options['num_heads'] ** 2
    ours = sum(p.numel() for p in net.parameters()) + classifier
    assert ours == counts['parameters_total'] - never_used


@pytest.mark.parametrize('case', cases('sdt_v1'))
def test_outputs_spikes_and_gradients_equal_the_reference(case):
    rows = compare(case)
    assert len(rows) == {'sdt_v1_cifar_tet': 1, 'sdt_v1_cifar_train': 13}.get(case, 15)
    assert [row for row in rows if not agrees(case, row)] == []


@pytest.mark.parametrize('case', cases('sdt_v1'))
def test_every_neuron_fires_as_in_the_reference(case):
    case = Case.load(case)
    # A name of a learned decay, which PLIF neurons have there.
    assert compare_neurons(
        SDTClassifier(case), case, lambda name: rename_key(f'{name}.w').removesuffix('.w')
    ) == 19  # fmt: skip


@pytest.mark.parametrize(
    ('pooling_stat', 'strides'),
    [
        ('1111', (1, 2, 4, 8, 16, 16, 16)),
        ('0011', (1, 1, 1, 2, 4, 4, 4)),
        ('0111', (1, 1, 2, 4, 8, 8, 8)),
    ],
)
@pytest.mark.parametrize('size', [(32, 32), (33, 47), (1, 20)])
def test_published_channels_and_strides_are_true(pooling_stat, strides, size):
    net = tiny_net(pooling_stat=pooling_stat, out_indices=range(7))
    assert net.out_strides == strides
    assert net.out_channels == (2, 4, 8, 16, 16, 16, 16)
    for feature, channels, stride in zip(
        net(torch.rand(1, 3, *size)), net.out_channels, net.out_strides, strict=True
    ):
        assert feature.shape == (2, channels, *(-(-side // stride) for side in size))


def test_outputs_are_in_order_and_stages_behind_the_last_are_not_built():
    net = tiny_net(out_indices=(-1, 3))
    assert net.out_indices == (3, 6)
    net = tiny_net(out_indices=(2, 3))
    assert len(net.stages) == 4
    net(torch.rand(2, 3, 8, 8))[-1].sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_pyramid_for_spiking_and_stock_necks():
    net = tiny_net(pooling_stat='1111', out_indices=(2, 3, -1))
    assert net.out_strides == (4, 8, 16)
    image = torch.randn(1, 3, 40, 56)
    neck = SpikeFPN(list(net.out_channels), 8, num_outs=4, neuron_cfg=dict(type='mmspike.LIF'))
    set_timesteps(neck, 2)
    spiking = neck(net(image))
    assert [tuple(level.shape) for level in spiking] == [
        (2, 8, 10, 14), (2, 8, 5, 7), (2, 8, 3, 4), (2, 8, 2, 2),
    ]  # fmt: skip

    from mmdet.models.necks import FPN

    net = tiny_net(pooling_stat='1111', out_indices=(2, 3, -1), readout=True)
    levels = FPN(list(net.out_channels), 8, num_outs=4)(net(image))
    assert [tuple(level.shape) for level in levels] == [
        (1, 8, 10, 14), (1, 8, 5, 7), (1, 8, 3, 4), (1, 8, 2, 2),
    ]  # fmt: skip
    sum(level.square().mean() for level in levels).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_attention_masks_channels_whose_keys_and_values_meet():
    """Worked out token by token, in one time step."""
    torch.manual_seed(0)
    attn = loud(SpikeDrivenSelfAttention(
        16, neuron_cfg=dict(type='mmspike.LIF'), norm_cfg=dict(type='BN')
    ).eval())  # fmt: skip
    x = torch.randn(1, 16, 3, 4) * 4
    q, k, v = (branch(attn.neuron(x))[0].flatten(1) for branch in (attn.q, attn.k, attn.v))
    expected = torch.zeros(16, 12)
    for channel in range(16):
        meetings = sum(int(k[channel, n] and v[channel, n]) for n in range(12))
        # A membrane of half the input reaches 0.5 from one meeting on.
        if meetings >= 1:
            expected[channel] = q[channel]
    assert 0 < expected.sum() < q.sum()
    torch.testing.assert_close(attn(x), attn.out(expected.view(1, 16, 3, 4)))


def test_no_map_of_products_that_its_attention_does_not_take():
    assert attention_blocks(tiny_net()) == {}


def test_kv_threshold_and_its_own_config():
    block = tiny_net().stages[5].attn
    assert block.kv_neuron.threshold == 0.5
    assert block.neuron.threshold == block.q.activate.threshold == 1.0
    plif = tiny_net(kv_neuron_cfg=dict(type='mmspike.PLIF', threshold=2.0)).stages[5].attn
    assert type(plif.kv_neuron) is PLIF
    assert plif.kv_neuron.threshold == 2.0
    assert type(plif.neuron) is LIF


def test_pools_for_event_cameras():
    plain, pooled, legacy = (
        loud(tiny_net(dvs_pool=dvs, legacy_dvs_pool=old, num_heads=2)).eval()
        for dvs, old in ((False, False), (True, False), (True, True))
    )
    for net in (pooled, legacy):
        net.load_state_dict(plain.state_dict())
    frames = torch.randn(2, 2, 3, 16, 16) * 2
    outs = [net(frames)[0] for net in (plain, pooled, legacy)]
    assert not torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[1], outs[2])


def test_pool_of_tokens_runs_over_tokens_and_channels_of_a_head():
    attn = tiny_net(dvs_pool=True, legacy_dvs_pool=True, num_heads=4).stages[5].attn
    x = torch.zeros(1, 16, 2, 3)
    x[0, 5, 1, 0] = 1  # head 1, its second of four channels, token 3
    spread = attn.pool_tokens(x).flatten(2)[0]
    assert {tuple(at) for at in spread.nonzero().tolist()} == {
        (channel, token) for channel in (4, 5, 6) for token in (2, 3, 4)
    }


NEURONS = [
    dict(type='mmspike.LIF', v_reset=None, surrogate='atan'),
    dict(type='mmspike.PLIF'),
    dict(type='mmspike.IF'),
]


@pytest.mark.parametrize('neuron', NEURONS, ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('timesteps', [1, 3])
def test_binary_neurons_train_every_parameter(neuron, timesteps):
    net = loud(tiny_net(neuron_cfg=neuron, timesteps=timesteps))
    out = net(torch.randn(4, 3, 16, 16) * 3)[0]
    assert out.shape[0] == timesteps * 4
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_frozen_stages_norm_eval_and_stochastic_depth():
    net = tiny_net(frozen_stages=4, norm_eval=True, drop_path_rate=0.5)
    rates = [module.drop_prob for module in net.modules() if isinstance(module, DropPath)]
    assert rates == [0.0, 0.5]
    net.train()
    before = copy.deepcopy(net.state_dict())
    net(torch.randn(2, 3, 16, 16))[0].sum().backward()
    for name, parameter in net.named_parameters():
        frozen = int(name.split('.')[1]) <= 4
        assert parameter.requires_grad is not frozen
        assert (parameter.grad is None) is frozen
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_checkpointing_changes_neither_gradients_nor_statistics():
    plain, recomputing = loud(tiny_net()).train(), tiny_net(with_cp=True).train()
    recomputing.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 16, 16)
    kept = []
    for net in (plain, recomputing):
        count = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, count=count: count.append(x.numel()) or x, lambda x: x
        ):
            loss = net(image)[0].square().mean()
        kept.append(sum(count))
        loss.backward()
    assert kept[1] < kept[0] / 2
    for (name, a), b in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), recomputing.buffers(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.slow
def test_compiles_into_one_graph():
    net = loud(tiny_net()).eval()
    x = torch.randn(2, 3, 8, 8)
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x)[0], net(x)[0])


def test_readout_is_the_mean_over_time_of_frames():
    net = loud(tiny_net(in_channels=2))
    with_readout = tiny_net(in_channels=2, readout=True)
    with_readout.load_state_dict(net.state_dict())
    frames = torch.randn(3, 2, 2, 16, 16)
    steps = net(frames)[0].unflatten(0, (2, 3))
    torch.testing.assert_close(with_readout(frames)[0], steps.mean(0))


def test_initialisation_is_the_reference_s():
    net = SDT(dict(embed_dims=128, depth=1))
    net.init_weights()
    block = net.stages[5]
    for conv in (net.stages[3].conv.conv, block.attn.q.conv, block.mlp.fc1.conv):
        assert conv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not block.attn.out.conv.bias.any()
    assert not block.mlp.fc1.conv.bias.any()


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(arch='12-512'), ValueError, "unknown arch '12-512'; known are 8-384, 6-512"),
        (dict(arch=dict(embed_dims=16)), ValueError, r"exactly the keys .* got \['embed_dims'"),
        (dict(arch=dict(embed_dims=20, depth=1)), ValueError, 'multiple of 8, got 20'),
        (dict(arch=dict(embed_dims=16, depth=0)), ValueError, 'depth .* from 1 on, got 0'),
        (dict(arch=dict(embed_dims='a', depth=1)), ValueError, "embed_dims .* from 1 on, got 'a'"),
        (dict(pooling_stat='111'), ValueError, "4 digits 0 or 1, such as '1111', got '111'"),
        (dict(pooling_stat='0121'), ValueError, "got '0121'"),
        (dict(pooling_stat=11), ValueError, r'must be a str, .* got 11 \(int\); --cfg-options'),
        (dict(arch=3), ValueError, r'arch must be a name \(8-384, .*\) or a dict, got 3 \(int\)'),
        (dict(num_heads=0), ValueError, 'embed_dims=16 .* num_heads=0'),
        (dict(num_heads=3), ValueError, 'embed_dims=16 .* num_heads=3'),
        (dict(legacy_dvs_pool=True), ValueError, 'legacy_dvs_pool=True adds to dvs_pool=True'),
        (dict(neuron_cfg=dict(type='mmspike.SFA')), ValueError, r'binary neurons .*SFA'),
        (dict(neuron_cfg=dict(type='ReLU')), ValueError, r'binary neurons .*ReLU'),
        (dict(neuron_cfg=dict(type='mmspike.SpikingQCFS')), ValueError, 'binary .*SpikingQCFS'),
        (dict(kv_neuron_cfg=dict(type='mmspike.SpikingQCFS')), ValueError, 'binary .*SpikingQCFS'),
        (dict(out_indices=3), ValueError, 'out_indices must be a sequence of ints, .* got 3'),
        (dict(out_indices=('a',)), ValueError, r"sequence of ints, .* got \('a',\)"),
        (dict(out_indices=(7,)), ValueError, r'out_indices .* from 0 to 6, .* got \(7,\)'),
        (dict(out_indices=(-8,)), ValueError, r'out_indices .* got \(-8,\)'),
        (dict(out_indices=(6, -1)), ValueError, r'each once, got \(6, -1\)'),
        (dict(frozen_stages=7), ValueError, 'frozen_stages .* -1 and 6, got 7'),
        (dict(drop_path_rate=1.0), ValueError, r'drop_prob must lie in \[0, 1\), got 1.0'),
    ],
    ids=str,
)
def test_bad_options(options, error, message):
    options = dict(dict(arch=SMALL_ARCH), **options)
    with pytest.raises(error, match=message):
        MODELS.build(dict(type='mmspike.SDT', **options))


def test_bad_input():
    with pytest.raises(ValueError, match=r'has 1 channels .* in_channels=3'):
        tiny_net()(torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r'holds 3 frames .* T=2'):
        tiny_net()(torch.rand(1, 3, 3, 8, 8))
