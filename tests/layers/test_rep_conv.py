import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.cnn import ConvModule, fuse_conv_bn
from mmengine.runner.checkpoint import load_state_dict as mmengine_load
from torch import nn
from torch.nn.functional import conv2d

from mmspike.ann2snn import fold_batch_norms
from mmspike.energy import EnergyCounter
from mmspike.execution import SpikeDriven, check_spike_driven, set_execution
from mmspike.execution.encodings import ENCODINGS
from mmspike.layers import RepConv, fold_rep_convs
from mmspike.neurons import SFA


def drawn(conv):
    """The chain with statistics and factors of its norms that are not 0 and 1."""
    for norm in (conv.norm1, conv.norm2):
        norm.weight.data.uniform_(-2, 2)
        norm.bias.data.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return conv


@given(
    kernel_size=st.sampled_from([1, 3, 5]),
    channels=st.integers(1, 5),
    out_channels=st.integers(1, 5),
    expansion=st.sampled_from([1.0, 1.5, 2.0]),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_the_chain_is_one_convolution_also_at_the_border(
    kernel_size, channels, out_channels, expansion, size
):
    conv = drawn(RepConv(channels, out_channels, kernel_size, expansion=expansion)).double().eval()
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    folded = conv.folded()
    assert folded.weight.shape == (out_channels, channels, kernel_size, kernel_size)
    torch.testing.assert_close(folded(x), conv(x))


def test_by_hand():
    """One channel, all weights 1: the kernel is that of the depthwise convolution times scales."""
    conv = RepConv(1, 1, 3).eval()
    for layer in (conv.pointwise1, conv.pointwise2):
        nn.init.ones_(layer.weight)
    conv.depthwise.weight.data[:] = torch.arange(9.0).view(1, 1, 3, 3)
    for norm in (conv.norm1, conv.norm2):
        norm.eps = 0.0
    conv.norm1.weight.data.fill_(2.0)
    conv.norm1.bias.data.fill_(10.0)
    conv.norm2.running_mean.fill_(1.0)
    weight, bias = conv.folded_weights()
    assert torch.equal(weight, 2 * torch.arange(9.0).view(1, 1, 3, 3))
    assert bias.item() == 36 * 10 - 1
    # A single pixel: eight neighbours are the border, which holds 10.
    assert conv(torch.full((1, 1, 1, 1), 3.0)).item() == 4 * (2 * 3 + 10) + 32 * 10 - 1


def test_training_uses_the_statistics_of_the_batch_inside_and_the_running_ones_at_the_border():
    conv = drawn(RepConv(2, 2, 3)).train()
    x = torch.randn(4, 2, 5, 5)
    conv(x)
    inner = conv.pointwise1(x)
    torch.testing.assert_close(conv.norm1.running_mean.shape, inner.mean((0, 2, 3)).shape)
    scale = conv.norm1.weight / torch.sqrt(conv.norm1.running_var + conv.norm1.eps)
    shift = conv.norm1.bias - conv.norm1.running_mean * scale
    given = []
    conv.depthwise.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    conv.norm1.momentum = 0.0
    conv(x)
    torch.testing.assert_close(given[0][:, :, 0, 0], shift.expand(4, 2))
    normed = torch.nn.functional.batch_norm(
        inner, None, None, conv.norm1.weight, conv.norm1.bias, training=True
    )
    torch.testing.assert_close(given[0][:, :, 1:-1, 1:-1], normed)


def test_no_gradient_through_the_border():
    conv = drawn(RepConv(1, 1, 3)).double().eval()
    nn.init.zeros_(conv.pointwise1.weight)
    conv(torch.randn(1, 1, 1, 1, dtype=torch.float64)).sum().backward()
    middle = conv.pointwise2.weight.sum() * conv.depthwise.weight[0, 0, 1, 1]
    scale = conv.norm2.weight / torch.sqrt(conv.norm2.running_var + conv.norm2.eps)
    torch.testing.assert_close(conv.norm1.bias.grad, middle.detach() * scale.detach())


def test_a_conv_module_builds_it_and_loses_it():
    module = ConvModule(
        4, 6, 3, padding=1, conv_cfg=dict(type='mmspike.RepConv', expansion=1.5),
        norm_cfg=dict(type='BN'), act_cfg=None,
    )  # fmt: skip
    drawn(module.conv)
    module.eval()
    x = torch.randn(2, 4, 5, 7)
    expected = module(x)
    folded = fold_batch_norms(module)
    assert isinstance(module.conv, RepConv)
    assert type(folded.conv) is nn.Conv2d
    assert isinstance(folded.bn, nn.Identity)
    torch.testing.assert_close(folded(x), expected, atol=1e-4, rtol=1e-4)
    assert fold_rep_convs(module) == 1
    assert fold_rep_convs(module) == 0
    torch.testing.assert_close(module(x), expected, atol=1e-4, rtol=1e-4)


def test_norms_that_mmcv_has_merged_before():
    conv = drawn(RepConv(3, 4, 3)).double().eval()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    fused = fuse_conv_bn(copy.deepcopy(conv))
    assert isinstance(fused.norm1, nn.Identity)
    torch.testing.assert_close(fused(x), conv(x))
    torch.testing.assert_close(fused.folded()(x), conv(x))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(kernel_size=2), 'must be odd, got 2'),
        (dict(kernel_size=0), 'must be odd, got 0'),
        (dict(kernel_size=3, stride=2), r'stride 1, padding 1 .* got \(2, 1, 1, 1, False\)'),
        (dict(kernel_size=3, padding=0), 'padding 1 for kernel_size=3'),
        (dict(kernel_size=1, bias=True), 'no bias'),
        (dict(kernel_size=1, groups=2), 'groups 1'),
        (dict(kernel_size=1, expansion=0.2), 'expansion=0.2 of in_channels=4 leaves no channel'),
        (dict(kernel_size=1, expansion=0), 'expansion must be finite and above 0, got 0'),
        (dict(kernel_size=1, bias=True, norm_cfg=None), 'must be batch norms .* norm_cfg=None'),
        (dict(kernel_size=1, norm_cfg=dict(type='GN', num_groups=2)), "must be .*'type': 'GN'"),
        (dict(kernel_size=1, norm_cfg=dict(type='BN', affine=False)), 'with factors'),
        (dict(kernel_size=1, norm_cfg=dict(type='BN', track_running_stats=False)), 'statistics'),
    ],
)
def test_what_a_chain_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        RepConv(4, 4, **options)


def test_what_is_frozen_stays_frozen():
    net = nn.Sequential(RepConv(2, 2, 3), RepConv(2, 2, 3), RepConv(2, 2, 3))
    net[0].requires_grad_(False)
    net[1].pointwise1.requires_grad_(False)
    assert fold_rep_convs(net) == 3
    assert [conv.weight.requires_grad for conv in net] == [False, True, True]
    assert [conv.bias.requires_grad for conv in net] == [False, True, True]


def test_a_shared_chain_stays_shared():
    chain = RepConv(2, 2, 3)
    net = nn.Sequential(chain, nn.Sequential(chain), chain)
    assert fold_rep_convs(net) == 1
    assert net[0] is net[1][0] is net[2]
    assert type(net[0]) is nn.Conv2d


def test_a_chain_alone_cannot_be_replaced():
    with pytest.raises(ValueError, match=r'take its folded\(\)'):
        fold_rep_convs(RepConv(2, 2, 3))


@pytest.mark.parametrize('load', [mmengine_load, nn.Module.load_state_dict])
def test_weights_of_the_other_form_are_refused(load):
    """Loaders that are not strict would leave the convolution as it was drawn."""
    chain = nn.Sequential(RepConv(2, 2, 3))
    folded = copy.deepcopy(chain)
    fold_rep_convs(folded)
    with pytest.raises(ValueError, match=r'hold 0 as a chain .*deploy=False'):
        load(copy.deepcopy(folded), chain.state_dict(), strict=False)
    with pytest.raises(ValueError, match=r'hold 0 as one convolution, .* deploy=True'):
        load(chain, folded.state_dict(), strict=False)
    load(pickle.loads(pickle.dumps(folded)), folded.state_dict(), strict=True)


def net_on_spikes():
    torch.manual_seed(0)
    return nn.Sequential(SFA(D=4), drawn(RepConv(3, 5, 3))).eval()


def test_energy_is_that_of_the_one_convolution():
    net, x = net_on_spikes(), torch.randn(2, 3, 4, 6) * 3
    folded = copy.deepcopy(net)
    fold_rep_convs(folded)
    counts = []
    for model in (net, folded):
        with torch.no_grad(), EnergyCounter(model, strict=True) as counter:
            model(x)
        counts.append(counter.counts())
    chain, one = counts
    assert list(chain.layers) == ['1']
    assert chain.layers == one.layers
    assert not chain.uncounted
    # By brute force: every spike times its connections inside of the map.
    spikes = (net[0](x) * 4).sum(1)
    reach = conv2d(torch.ones(1, 1, 4, 6), torch.ones(1, 1, 3, 3), padding=1)[0, 0]
    assert chain.layers['1'].sops == (spikes * reach).sum().item() * 5


@pytest.mark.parametrize('execution', ENCODINGS)
def test_spikes_go_through_the_one_convolution(execution):
    net, x = net_on_spikes(), torch.randn(2, 3, 4, 6) * 3
    with torch.no_grad():
        expected = net(x)
        with SpikeDriven(net, execution):
            torch.testing.assert_close(torch.Tensor(net(x)), expected, atol=1e-4, rtol=1e-4)
        set_execution(net, execution)
        inputs = check_spike_driven(net, lambda: net(x))
    assert [(one.layer, one.spikes, one.declared) for one in inputs] == [('1', True, False)]


def test_counting_in_training_counts_the_chain():
    net, x = net_on_spikes().train(), torch.randn(2, 3, 4, 6)
    with EnergyCounter(net, strict=True) as counter:
        net(x)
    assert list(counter.counts().layers) == ['1.pointwise1', '1.depthwise', '1.pointwise2']


def test_half_precision_and_autocast():
    conv = drawn(RepConv(2, 2, 3)).eval()
    x = torch.randn(1, 2, 4, 4)
    expected = conv(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(conv(x).float(), expected, atol=0.3, rtol=0.1)
    conv.bfloat16()
    assert conv(x.bfloat16()).dtype == torch.bfloat16
    assert conv.folded()(x.bfloat16()).dtype == torch.bfloat16
