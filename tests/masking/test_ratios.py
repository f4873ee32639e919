import pytest
import torch
from mmengine.model import ExponentialMovingAverage, MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as HOST_MODELS
from torch import nn

from mmspike.ann2snn import convert_to_spiking
from mmspike.backbones import MST, SDT, MetaSpikformer
from mmspike.energy import EnergyCounter
from mmspike.execution import check_spike_driven, set_execution
from mmspike.execution.encodings import ENCODINGS
from mmspike.masking import get_masking, masking_groups, set_masking
from mmspike.neurons import IF, LIF, QCFS, SFA, BaseNeuron, SpikingQCFS

ARCH = dict(embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 2, 1), num_heads=2, stem_stride=2)


def spikformer(neuron='mmspike.SFA', **options):
    torch.manual_seed(0)
    return MetaSpikformer(ARCH, neuron_cfg=dict(type=neuron), norm_cfg=dict(type='BN'), **options)


IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def run(net, images=IMAGES, seed=0):
    torch.manual_seed(seed)
    return net(images)[-1]


# --- Groups and patterns ------------------------------------------------------------------------


def test_groups_of_metaspikformer():
    groups = masking_groups(spikformer())
    blocks = ['stages.3.blocks.0', 'stages.3.blocks.1', 'stages.4.blocks.0']
    assert groups['self_attention'] == [f'{b}.attn.{x}.activate' for b in blocks for x in 'qkv']
    assert groups['mlp'] == [f'{b}.mlp.{x}.activate' for b in blocks for x in ('fc1', 'fc2')]
    assert len(groups['conv']) == 6 * 3 + 3 * 2
    assert len(groups['all']) == sum(isinstance(m, SFA) for m in spikformer().modules())


def test_groups_of_sdt_and_mst():
    groups = masking_groups(NETWORKS['sdt']())
    names = ['q.activate', 'k.activate', 'v.activate', 'kv_neuron']
    assert groups['self_attention'] == [f'stages.5.attn.{name}' for name in names]
    assert groups['mlp'] == ['stages.5.mlp.fc1.activate', 'stages.5.mlp.fc2.activate']
    groups = masking_groups(NETWORKS['mst']())
    assert groups['self_attention'] == [
        f'stages.{i}.blocks.0.attn.{name}_neuron' for i in range(4) for name in ('q', 'k', 'map')
    ]
    assert len(groups['mlp']) == 8


def test_groups_of_a_part_count_in_the_whole():
    whole = nn.ModuleDict({'backbone': spikformer(), 'head': SFA()})
    groups = masking_groups(whole)
    assert all(name.startswith('backbone.stages.') for name in groups['mlp'])
    assert 'head' in groups['all']
    set_masking(whole, {'mlp': 0.5})
    assert list(get_masking(whole)) == groups['mlp']


def chain(n=5):
    return nn.Sequential(*(IF() for _ in range(n)))


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({'all': 0.5}, [0.5] * 5),
        ({'[13]': 0.5}, [0, 0.5, 0, 0.5, 0]),
        ({'all': 0.5, '2': 0.0, '4': 0.75}, [0.5, 0.5, 0, 0.5, 0.75]),
        ({'2': 0.75, 'all': 0.5}, [0.5] * 5),
        ({'all': [0.1, 0.5]}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({'all': (0.0, 0.5, 0.0)}, [0, 0.25, 0.5, 0.25, 0]),
        ({'all': [0.1, 0.9, 0.2, 0.3, 0.8]}, [0.1, 0.9, 0.2, 0.3, 0.8]),
        ({'3': [0.5, 0.9]}, [0, 0, 0, 0.5, 0]),
    ],
)
def test_patterns_and_profiles(given, expected):
    net = chain()
    set_masking(net, given)
    assert [neuron.masking_ratio for neuron in net] == pytest.approx(expected, abs=1e-12)
    found = get_masking(net)
    assert list(found) == [str(i) for i, ratio in enumerate(expected) if ratio]
    twin = chain()
    set_masking(twin, found)
    assert get_masking(twin) == found


def test_what_is_not_named_stays():
    net = chain()
    set_masking(net, {'0': 0.5})
    set_masking(net, {'1': 0.25})
    assert get_masking(net) == {'0': 0.5, '1': 0.25}


def test_wrapped_models():
    averaged = ExponentialMovingAverage(chain())
    set_masking(averaged.module, {'0': 0.5})
    assert get_masking(averaged) == {'module.0': 0.5}


@pytest.mark.parametrize(
    ('ratios', 'error', 'message'),
    [
        ({'all': 1.0}, ValueError, r'lie in \[0, 1\), got 1.0'),
        ({'all': [0.5, -1]}, ValueError, 'got -1'),
        ({'all': []}, ValueError, 'at least one'),
        ({'all': '0.5'}, TypeError, 'must be a number'),
        (
            {'mlp': 0.5},
            ValueError,
            r'of Sequential. Its groups are all; its 5 neurons are 0, 1, 2, \.\.\.',
        ),
        ({'0': 0.5, '7': 0.5}, ValueError, "'7' names no neuron"),
    ],
)
def test_misuse_changes_nothing(ratios, error, message):
    net = chain()
    with pytest.raises(error, match=message):
        set_masking(net, ratios)
    assert get_masking(net) == {}


def test_a_model_without_neurons():
    with pytest.raises(ValueError, match='0 neurons are none of mmspike'):
        set_masking(nn.Linear(1, 1), {'all': 0.5})


# --- Networks -----------------------------------------------------------------------------------


def resnet():
    net = HOST_MODELS.build(dict(type='ResNet', depth=18, stem_channels=8, base_channels=8))
    # Its config has no activation: put neurons in the place of its ReLUs.
    for module in net.modules():
        if hasattr(module, 'relu'):
            module.relu = LIF(threshold=0.25)
    return net


NETWORKS = {
    'spikformer-sfa': spikformer,
    'spikformer-lif': lambda: spikformer('mmspike.LIF', timesteps=2),
    'sdt': lambda: SDT(dict(embed_dims=32, depth=1), timesteps=2, num_heads=2),
    'mst': lambda: MST(
        dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4),
        neuron_cfg=dict(type='mmspike.QCFS', levels=4),
    ),
    'resnet': resnet,
    'vgg': lambda: HOST_MODELS.build(
        dict(type='VGG', depth=11, norm_cfg=dict(type='BN'), act_cfg=dict(type='mmspike.LIF'))
    ),
}


@pytest.fixture(params=NETWORKS)
def net(request):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    net = NETWORKS[request.param]()
    net.train()
    assert masking_groups(net)['all'], 'no neurons'
    return net


def spikes_of(net):
    counts = []
    handles = [
        module.register_forward_hook(lambda m, x, out: counts.append(out.count_nonzero().item()))
        for module in net.modules()
        if isinstance(module, BaseNeuron)
    ]
    run(net)
    for handle in handles:
        handle.remove()
    return counts


def test_masks_act_in_whole_networks(net):
    whole, unmasked = spikes_of(net), run(net)
    assert sum(whole) > 0
    set_masking(net, {'all': 0.5})
    masked = spikes_of(net)
    first = next(i for i, count in enumerate(whole) if count > 200)
    assert 0.4 * whole[first] < masked[first] < 0.6 * whole[first]
    out = run(net)
    assert not torch.equal(out, unmasked)
    assert torch.equal(out, run(net))
    assert not torch.equal(out, run(net, seed=1))
    out.square().sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in net.parameters())
    set_masking(net, {'all': 0.0})
    assert torch.equal(run(net), unmasked)


def test_with_cp_gives_the_gradients_of_without():
    grads = []
    for with_cp in (False, True):
        net = spikformer(with_cp=with_cp)
        set_masking(net, {'all': [0.1, 0.6]})
        run(net).square().mean().backward()
        grads.append([p.grad for p in net.parameters()])
    assert any(grad.any() for grad in grads[0])
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_distributed_wrapper(tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        plain = spikformer()
        set_masking(plain, {'mlp': 0.5})
        expected = run(plain)
        wrapped = MMDistributedDataParallel(spikformer())
        set_masking(wrapped, {'mlp': 0.5})
        assert get_masking(wrapped) == get_masking(plain)
        out = run(wrapped)
        assert torch.equal(out, expected)
        out.square().mean().backward()
    finally:
        torch.distributed.destroy_process_group()


# --- Execution and energy -----------------------------------------------------------------------


def exact_network():
    """Neurons and convolutions whose sums are exact in any order."""
    torch.manual_seed(0)
    net = nn.Sequential(SFA(D=4), nn.Conv2d(3, 6, 3), SFA(D=4), nn.Conv2d(6, 4, 3)).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(256).round_().div_(256)
    return net


X = torch.randint(-16, 80, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 16


@pytest.mark.parametrize('execution', ENCODINGS)
def test_spikes_and_integers_agree_under_the_same_seed(execution):
    net = exact_network()
    set_masking(net, {'all': 0.5})
    with torch.no_grad():
        torch.manual_seed(3)
        integers = net(X)
        set_execution(net, execution)
        torch.manual_seed(3)
        assert torch.equal(net(X), integers)
        torch.manual_seed(4)
        assert not torch.equal(net(X), integers)
    assert all(one.spikes for one in check_spike_driven(net, lambda: net(X)))


def test_energy_counts_what_is_left_of_the_spikes():
    net = exact_network()
    set_masking(net, {'0': 0.5})
    sent = []
    net[0].register_forward_hook(lambda module, x, out: sent.append(out.sum().item() * 4))
    with torch.no_grad(), EnergyCounter(net) as counter:
        torch.manual_seed(0)
        net(X)
    layer = counter.counts().layers['1']
    assert layer.spikes == counter.counts().neurons['0'].spikes == sent[0]
    set_masking(net, {'0': 0.0})
    with torch.no_grad(), EnergyCounter(net) as whole:
        net(X)
    share = layer.sops / whole.counts().layers['1'].sops
    assert 0.4 < share < 0.6


def test_timesteps_are_masked_apart_in_a_network():
    # Without memory: the same image gives the same outputs at every step, but for the masks.
    net = spikformer(timesteps=2)
    whole = run(net)
    assert torch.equal(whole[:2], whole[2:])
    set_masking(net, {'all': 0.5})
    out = run(net)
    assert not torch.equal(out[:2], out[2:])


def test_conversion_keeps_the_ratios():
    net = nn.Sequential(QCFS(), nn.Linear(2, 2), QCFS())
    set_masking(net, {'2': 0.5})
    spiking = convert_to_spiking(net)
    assert get_masking(spiking) == {'2': 0.5}
    assert isinstance(spiking[2], SpikingQCFS)
