import json

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.registry import MODELS

from mmspike.ann2snn import fold_batch_norms
from mmspike.backbones import SDTV3Large
from mmspike.energy import EnergyCounter
from mmspike.execution import check_spike_driven, set_execution
from mmspike.layers import DropPath, RepConv
from mmspike.masking import set_masking
from mmspike.neurons import BaseNeuron
from support import sharded_large
from support.parity import agrees, compare
from support.reference_cases import DATA, Case, cases
from support.reference_large import Sdtv3LargeClassifier
from support.small_parts import BACKBONES

CASES = cases('sdtv3_spikformer')
COUNTS = json.loads((DATA / 'sdtv3_large_counts.json').read_text())['variants']
SMALL_ARCH = dict(
    embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 2), num_heads=2, stem_stride=1, rep_expansion=1.0
)


def parameters_of(arch):
    """Of a classifier with two heads for 1000 classes."""
    with torch.device('meta'):
        net = SDTV3Large(arch)
    heads = 2 * (net.out_channels[0] * 1000 + 1000)
    return sum(p.numel() for p in net.parameters()) + heads


@pytest.mark.parametrize('arch', ['12-512', '12-768'])
def test_parameter_count_is_the_reference_count(arch):
    counted = COUNTS['spikformer' + arch.replace('-', '_')]
    assert parameters_of(arch) == counted['parameters_total']


def test_the_wide_form_has_wider_branches():
    # 12 blocks: two 1x1 convolutions between 512 channels and 256 more, and their norm.
    more = 12 * (2 * 512 * 256 + 2 * 256)
    assert parameters_of('12-512-wide-rep') == parameters_of('12-512') + more


@pytest.mark.parametrize('case', CASES)
def test_outputs_and_gradients_equal_the_reference(case):
    for row in compare(case):
        assert agrees(case, row), row


@pytest.mark.parametrize('case', CASES)
def test_neurons_fire_as_in_the_reference(case):
    case = Case.load(case)
    model = Sdtv3LargeClassifier(case)
    means = []
    for module in model.modules():
        if isinstance(module, BaseNeuron):
            module.register_forward_hook(lambda _, args, out: means.append(out.mean().item()))
    model(case.input())
    # Neurons that the reference never calls have no calls. Its last is called once per head here.
    called = case.numbers['stat_calls'] > 0
    expected = case.numbers['stat_mean'][called].tolist()
    assert sorted(set(means)) == pytest.approx(sorted(set(expected)), abs=1e-6)


def test_published_channels_and_strides_are_true():
    net = SDTV3Large(dict(SMALL_ARCH, stem_stride=2), out_indices=(0, 1, 2, 3))
    assert net.out_strides == (2, 4, 8, 16)
    for feature, channels, stride in zip(
        net(torch.rand(2, 3, 33, 47)), net.out_channels, net.out_strides, strict=True
    ):
        assert feature.shape == (2, channels, *(-(-side // stride) for side in (33, 47)))


def test_the_extra_branch_has_neither_scale_nor_stochastic_depth():
    net = SDTV3Large(SMALL_ARCH, drop_path_rate=0.9, layer_scale_init_value=0.0).train()
    last = net.stages[3].blocks[-1]
    assert [m.drop_prob for m in net.modules() if isinstance(m, DropPath)] == [0.0, 0.9]
    x = torch.randn(4, 8, 3, 3)
    torch.testing.assert_close(last(x), x + last.rep_conv(x))
    assert last.rep_conv(x).abs().sum() > 0


def test_without_the_extra_branch():
    net = SDTV3Large(dict(SMALL_ARCH, rep_expansion=None), layer_scale_init_value=None)
    assert not any('rep_conv' in name or 'scale' in name for name, _ in net.named_parameters())


def test_spikes_of_the_extra_branch_can_be_masked():
    net = SDTV3Large(SMALL_ARCH)
    set_masking(net, dict(conv=0.5))
    assert net.stages[3].blocks[1].rep_conv.activate.masking_ratio == 0.5
    assert net.stages[3].blocks[1].attn.q.activate.masking_ratio == 0.0


def test_gradients_stop_at_the_ends_and_halves_are_rounded_up():
    neuron = SDTV3Large(SMALL_ARCH).stages[3].blocks[0].mlp.fc1.activate
    x = torch.tensor([0.0, 0.5, 2.5, 4.0], requires_grad=True)
    out = neuron(x)
    assert out.tolist() == [0.0, 0.25, 0.75, 1.0]
    out.sum().backward()
    assert x.grad.tolist() == [0.0, 0.25, 0.25, 0.0]


@pytest.mark.parametrize(
    ('arch', 'message'),
    [
        ('12-384', "unknown arch '12-384'; known are 12-512, 12-512-wide-rep, 12-768"),
        (dict(SMALL_ARCH, depths=(1, 1, 1, 2, 1)), r'depths .* 4 stages, got \(1, 1, 1, 2, 1\)'),
        (dict(SMALL_ARCH, num_heads=3), 'embed_dims=8 .* num_heads=3'),
    ],
)
def test_bad_arch(arch, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='mmspike.SDTV3Large', arch=arch))


def small_part(**options):
    """In doubles, so that rounding moves no membrane over a threshold."""
    part = next(part for part in BACKBONES if part.name == 'SDTV3Large')
    torch.manual_seed(0)
    return part.make(**options).double().eval(), part.input(2).double()


def test_folded_chains_and_norms_compute_the_same():
    net, x = small_part()
    expected = net(x)
    chains = [m for m in net.modules() if isinstance(m, RepConv)]
    assert len(chains) == 5  # q, k, v, projection and the extra branch
    folded = fold_batch_norms(net)
    assert not any(isinstance(m, RepConv | torch.nn.BatchNorm2d) for m in folded.modules())
    for own, reference in zip(folded(x), expected, strict=True):
        torch.testing.assert_close(own, reference)


def test_deployed_weights_fit_a_deployed_network():
    net, x = small_part()
    expected = net(x)
    net.switch_to_deploy()
    other, _ = small_part(deploy=True, frozen_stages=3)
    other.load_state_dict(net.state_dict())
    assert not any(isinstance(m, RepConv) for m in other.modules())
    assert not any(parameter.requires_grad for parameter in other.parameters())
    for own, reference in zip(other(x), expected, strict=True):
        torch.testing.assert_close(own, reference)


def test_spike_driven_execution_is_exact():
    net, x = small_part()
    expected = net(x)
    set_execution(net, 'spike')
    for own, reference in zip(net(x), expected, strict=True):
        torch.testing.assert_close(own, reference)


def test_all_layers_but_the_first_take_spikes():
    net, x = small_part()
    set_execution(net, 'spike')
    inputs = check_spike_driven(net, lambda: net(x))
    assert {one.layer for one in inputs if not one.binary} == {'stages.0.downsample.conv'}


def test_energy_counts_a_chain_as_one_convolution():
    net, x = small_part()
    with EnergyCounter(net) as counter:
        net(x)
    layers = counter.counts().layers
    block = net.stages[3].blocks[0]
    spikes = int(block.rep_conv.activate(net.stages[3].downsample(net.stages[2](
        net.stages[1](net.stages[0](x))))).mul(4).sum())  # fmt: skip
    chain = layers['stages.3.blocks.0.rep_conv.conv']
    assert spikes > 0
    assert chain.spikes == spikes
    assert chain.sops == spikes * 8  # each spike reaches the 8 output channels


@pytest.mark.slow
def test_two_sharded_processes_train_to_the_weights_of_one(tmp_path):
    """By mmengine's FSDP strategy."""
    mp.spawn(sharded_large.work, args=(str(tmp_path),), nprocs=sharded_large.RANKS)
    whole = torch.load(tmp_path / 'whole.pth', weights_only=True)['state_dict']
    start = sharded_large.classifier().state_dict()
    alone = sharded_large.train_alone().state_dict()
    assert set(whole) == set(alone)
    for name, value in alone.items():
        torch.testing.assert_close(whole[name], value, rtol=1e-4, atol=1e-5, msg=name)
    still = [
        name
        for name, _ in sharded_large.classifier().named_parameters()
        if torch.equal(alone[name], start[name])
    ]
    # Few tokens of a small attention reach the threshold.
    assert all('.attn.' in name for name in still), still
