"""mmspike to NIR and back: the same spikes, bit for bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmspike import set_timesteps
from mmspike.ann2snn import convert_to_spiking, fold_batch_norms, insert_qcfs
from mmspike.deploy.nir import from_nir, to_nir
from mmspike.neurons import IF, LIF, PLIF, SpikingQCFS, set_stateful

rests = st.sampled_from([None, 0.0, -0.25])
thresholds = st.floats(0.25, 1.5)
neurons = st.one_of(
    st.builds(IF, threshold=thresholds, v_reset=rests),
    st.builds(
        LIF,
        tau=st.floats(1, 20),
        threshold=thresholds,
        v_reset=rests,
        decay_input=st.booleans(),
    ),
    st.builds(SpikingQCFS, init_threshold=thresholds),
)
SIZE = 7


@st.composite
def convolutions(draw, channels):
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
    layer = nn.Conv2d(
        channels,
        groups * draw(st.integers(1, 2)),
        draw(st.sampled_from([1, 2, 3, (1, 3), (3, 2)])),
        stride=draw(st.sampled_from([1, 2, (2, 1)])),
        padding=draw(st.sampled_from([1, 2, (1, 2), 0])),
        dilation=draw(st.sampled_from([1, (1, 2)])),
        groups=groups,
        bias=draw(st.booleans()),
    )
    nn.init.normal_(layer.weight)
    return layer


@st.composite
def networks(draw):
    """One to three convolutions with neurons, then perhaps a pool and a linear layer."""
    channels = first = draw(st.sampled_from([1, 2, 4]))
    layers, shape = [], (1, first, SIZE, SIZE)
    for _ in range(draw(st.integers(1, 3))):
        conv = draw(convolutions(channels))
        sizes = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                shape[2:], conv.padding, conv.dilation, conv.kernel_size, conv.stride, strict=True
            )
        ]
        if min(sizes) < 1:
            break
        channels, shape = conv.out_channels, (1, conv.out_channels, *sizes)
        layers += [conv, draw(neurons)]
    if min(shape[2:]) >= 2 and draw(st.booleans()):
        layers.append(nn.AvgPool2d(2, divisor_override=draw(st.sampled_from([None, 1]))))
        shape = (1, channels, shape[2] // 2, shape[3] // 2)
    if draw(st.booleans()):
        layers += [nn.Flatten(), nn.Linear(channels * shape[2] * shape[3], 3), draw(neurons)]
    return nn.Sequential(*layers or [draw(neurons)]), (first, SIZE, SIZE)


@torch.no_grad()
def assert_same_spikes(net, back, x, timesteps):
    for model in (net, back):
        set_timesteps(model, timesteps)
    expected = net(x)
    assert torch.equal(back(x), expected)
    assert torch.equal(back(x), expected)  # from rest again
    return expected


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(1, 4), st.integers(1, 2), st.integers(0, 99))
def test_random_networks(network, timesteps, batch, seed):
    net, shape = network
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(timesteps * batch, *shape, generator=generator) * 2
    back = from_nir(to_nir(net, x))
    assert_same_spikes(net, back, x, timesteps)
    again = from_nir(to_nir(back, x))
    assert_same_spikes(net, again, x, timesteps)


class Residual(nn.Module):
    """Sums of two and three terms, one in place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.neuron1, self.neuron2, self.neuron3 = LIF(), IF(), LIF(tau=1.5)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.conv2 = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        x += self.conv1(self.neuron1(x))
        x = self.conv2(self.neuron2(x)) + x
        return torch.flatten(self.neuron3(x), 1)


def test_residual_sums():
    net, x = Residual(), torch.randn(6, 2, 5, 5) * 2
    graph = to_nir(net, x)
    into = {target for target in graph.nodes if sum(b == target for _, b in graph.edges) > 1}
    assert into == {'neuron2', 'neuron3'}
    # In the order in which they are added: a sum stands before what is added to it.
    assert [a for a, b in graph.edges if b == 'neuron3'] == ['stem', 'conv1', 'conv2']
    assert assert_same_spikes(net, from_nir(graph), x, 3).any()


def test_names_and_weights_are_those_of_the_model(tmp_path):
    net = nn.Sequential(nn.Conv1d(2, 3, 3, bias=False), LIF(), nn.Flatten(), nn.Linear(12, 2))
    x = torch.randn(2, 2, 6)
    graph = to_nir(net, x, tmp_path / 'new folder' / 'net.nir')
    assert list(graph.nodes) == ['input', '0', '1', '2', '3', 'output']
    back = from_nir(tmp_path / 'new folder' / 'net.nir')
    # Records of neurons included.
    back.load_state_dict(net.state_dict())
    assert_same_spikes(net, back, x, 2)


def test_converted_network(tmp_path):
    """A ReLU network with norms: quantised, converted, folded, written, read."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(),
        nn.Conv2d(8, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    for _ in range(3):
        net(torch.randn(8, 3, 8, 8) * 2)
    insert_qcfs(net, levels=8, thresholds=1.0)
    spiking = convert_to_spiking(net)
    x = torch.randn(2, 3, 8, 8).repeat(8, 1, 1, 1)
    to_nir(spiking, x, tmp_path / 'net.nir')
    back = from_nir(tmp_path / 'net.nir')
    assert [type(part).__name__ for part in back.values()].count('SpikingQCFS') == 2
    out = assert_same_spikes(fold_batch_norms(spiking), back, x, 8)
    assert out.unflatten(0, (8, 2)).std(0).max() > 0  # spikes, not rates


@pytest.mark.parametrize('tau', [2.0, 4.0])
def test_plif_becomes_a_lif(tau):
    net, x = nn.Sequential(PLIF(init_tau=tau)), torch.randn(6, 5) * 2
    back = from_nir(to_nir(net, x))
    assert isinstance(back['0'], LIF)
    assert back['0'].tau == tau
    assert_same_spikes(net, back, x, 3)


def test_time_constants_are_the_same_numbers():
    """Not 3.0000000000000004: records of neurons hold them."""
    for tau in (*range(1, 40), 1.1, 1.7, 2.3, 7 / 3):
        back = from_nir(to_nir(LIF(tau=tau), torch.rand(1, 1)))
        assert back['lif'].tau == pytest.approx(tau, rel=1e-15)
        if tau != 7 / 3:
            assert back['lif'].tau == tau


def test_a_single_neuron_is_a_network():
    neuron, x = LIF(tau=3.0), torch.randn(4, 6) * 3
    back = from_nir(to_nir(neuron, x))
    assert list(back) == ['lif']
    assert_same_spikes(neuron, back, x, 2)


def test_a_module_that_is_called_twice_becomes_two_nodes():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = LIF(tau=1.0)

        def forward(self, x):
            return self.neuron(self.neuron(x))

    net, x = Twice(), torch.randn(6, 5) * 4
    graph = to_nir(net, x)
    assert list(graph.nodes) == ['input', 'neuron', 'neuron_1', 'output']
    assert_same_spikes(net, from_nir(graph), x, 3)


def test_other_step_lengths():
    net, x = nn.Sequential(LIF(tau=3.0), IF(v_reset=None)), torch.randn(6, 5) * 4
    graph = to_nir(net, x, dt=1e-3)
    assert graph.nodes['0'].tau[0] == pytest.approx(3e-3)
    assert_same_spikes(net, from_nir(graph, dt=1e-3), x, 3)


def test_export_changes_nothing():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), LIF(timesteps=2))
    set_stateful(net)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    to_nir(net, torch.randn(4, 3))
    assert net.training
    assert net[3].v == 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'net.nir'
    to_nir(IF(), torch.ones(1, 2), path)
    old = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError('no space left')

    monkeypatch.setattr('mmspike.files.os.fsync', full)
    with pytest.raises(OSError, match='no space left'):
        to_nir(IF(threshold=2.0), torch.ones(1, 2), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
