"""Counts of every encoding: by hand, and by looking at the slots of a model that runs on them."""

import pytest
import torch
from torch import nn

from mmspike.energy import EnergyCounter, EnergyCounts, EnergyReport, LayerCount
from mmspike.energy.memories import MEMORIES
from mmspike.energy.quantised import QuantisedANN
from mmspike.execution import set_execution
from mmspike.execution.encodings import ENCODINGS
from mmspike.neurons import LIF, SFA
from support.firing_networks import make_exact
from support.operands import watched_operands

each = pytest.mark.parametrize('encoding', ENCODINGS)


def count(net, *inputs, **options):
    with torch.no_grad(), EnergyCounter(net, strict=True, **options) as counter:
        net(*inputs)
    return counter.counts()


@pytest.mark.parametrize(
    ('encoding', 'spikes', 'shifts'),
    [('spike', 26, 0), ('bitwise', 1 + 3 + 4, 3), ('ternary', 1 + 2 + 2, 4)],
)
def test_linear_layer_by_hand(encoding, spikes, shifts):
    """4, 7 and 15: 100, 111 and 1111 in binary; 4, 8 - 1 and 16 - 1."""
    net = nn.Sequential(SFA(D=15), nn.Linear(4, 2)).eval()
    counts = count(net, torch.tensor([[0.0, 4, 7, 15], [0, 0, 0, 0]]), encoding=encoding)
    layer, neuron = counts.layers['1'], counts.neurons['0']
    assert layer.spikes == neuron.spikes == spikes
    assert layer.sops == 2 * spikes
    # Two outputs of two samples, once for each slot after the first.
    assert layer.shifts == 4 * shifts
    assert (neuron.active, neuron.max_spikes, neuron.updates) == (3, 15, 8)
    assert counts.encoding == encoding


class Net(nn.Module):
    """All kinds of layers with weights, and products of one side and of both."""

    def __init__(self, D):
        super().__init__()
        self.first, self.second, self.third = SFA(D=D, norm=4), SFA(D=D, norm=1), SFA(D=D, norm=2)
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(4, 3, 3, stride=2)
        self.fc = nn.Linear(7, 5)

    def forward(self, x):
        x = self.second(self.conv(self.first(x)))
        x = self.third(self.up(x)).flatten(0, 1)
        scores = (x @ x.mT) / 64
        return self.fc(x), scores @ x


@each
@pytest.mark.parametrize('D', [2, 7, 15])
def test_counts_are_those_of_the_slots_that_layers_multiply(encoding, D):
    net = Net(D).eval()
    make_exact(net)
    x = torch.randint(-4, D, (2, 2, 6, 6)).float()
    expected = count(net, x, encoding=encoding)
    set_execution(net, encoding)
    assert count(net, x) == expected  # its own encoding
    with torch.no_grad(), watched_operands() as operands:
        net(x)
    slots = len(ENCODINGS[encoding].weights(D))
    assert len(operands) == 5 * slots
    assert sum(layer.sops for layer in expected.layers.values()) == sum(
        additions(name, args, out) for name, args, out in operands
    )
    assert sum(layer.spikes for layer in expected.layers.values()) > 0
    # Of each layer the result of every slot but the first is shifted, if slots have weights.
    shifted = sum(out.numel() for _, _, out in operands) * (slots - 1) // slots
    assert sum(layer.shifts for layer in expected.layers.values()) == (
        0 if encoding == 'spike' else shifted
    )


def additions(name, args, out):
    """Additions of one slot: where it is not 0, the connections to all outputs."""
    if name == 'convolution':
        spikes, weight, _, *options = args
        return torch.convolution(spikes.abs(), torch.ones_like(weight), None, *options).sum().item()
    left, right = args[-2:]
    if set(left.unique().tolist()) <= {-1, 0, 1}:
        return left.count_nonzero().item() * out.shape[-1]
    assert set(right.unique().tolist()) <= {-1, 0, 1}
    return right.count_nonzero().item() * out.shape[-2]


class Masks(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.q, self.k = SFA(D=D, norm=1), SFA(D=D, norm=1)

    def forward(self, x):
        return (self.q(x) * self.k(x - 1)).sum((1, 2))


@pytest.mark.parametrize(
    ('encoding', 'mask', 'masked', 'shifts'),
    [('spike', 3 + 2, 6 + 2, 0), ('bitwise', 2 + 1, 2 + 1, 1), ('ternary', 2 + 1, 2 + 1, 2)],
)
def test_masks_and_sums_by_hand(encoding, mask, masked, shifts):
    """3 and 2 are multiplied by 2 and 1, one operation for each spike: 6 = 110 = 8 - 2, 2 = 10."""
    counts = count(Masks(D=3).eval(), torch.tensor([[[3.0, 2, 0]]]), encoding=encoding)
    one, other = counts.layers.values()
    assert (one.kind, one.sops, one.shifts) == ('mask', mask, 3 * shifts)
    assert (other.kind, other.sops) == ('sum', masked)
    assert other.shifts == ENCODINGS[encoding].shifts(9)


@pytest.mark.parametrize('dims', [-1, (0, 1), None])
def test_outputs_of_sums(dims):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = SFA()

        def forward(self, x):
            return self.neuron(x).sum(dims)

    x = torch.rand(2, 3, 4)
    assert count(Sum().eval(), x).layers.popitem()[1].outputs == x.sum(dims).numel()


@each
def test_binary_neurons_are_counted_as_usual(encoding):
    net = nn.Sequential(LIF(timesteps=2), nn.Conv2d(2, 3, 3), LIF(timesteps=2)).eval()
    x = torch.randn(4, 2, 6, 6) * 4
    usual, counts = count(net, x), count(net, x, encoding=encoding)
    assert usual.layers['1'].sops > 0
    assert (counts.layers, counts.neurons) == (usual.layers, usual.neurons)


def test_one_pass_counts_all():
    net = nn.Sequential(SFA(D=15), nn.Linear(4, 2)).eval()
    x = torch.rand(5, 4) * 15
    alone = [count(net, x, encoding=encoding) for encoding in ENCODINGS]
    with (
        torch.no_grad(),
        EnergyCounter(net) as one,
        EnergyCounter(net, encoding='bitwise') as other,
        EnergyCounter(net, encoding='ternary') as third,
    ):
        net(x)
    assert [counter.counts() for counter in (one, other, third)] == alone


def test_energies():
    net = nn.Sequential(SFA(D=15), nn.Linear(4, 2)).eval()
    counts = count(net, torch.tensor([[0.0, 4, 7, 15]]), encoding='bitwise')
    report = EnergyReport(counts)
    assert report.totals.energy_mj * 1e9 == pytest.approx(16 * 0.9 + 6 * 0.03)
    assert report.totals.energy_published_mj * 1e9 == pytest.approx(16 * 0.9 + 6 * 0.03)
    own = EnergyReport(counts, dict(mac_pj=2, ac_pj=0.5, shift_pj=0.25)).totals
    assert own.energy_mj * 1e9 == pytest.approx(16 * 0.5 + 6 * 0.25)
    # Without a cost of its own, a shift is an addition.
    assert EnergyReport(counts, dict(mac_pj=2, ac_pj=0.5)).totals.energy_mj * 1e9 == 11
    assert report.notes()[-1] == (
        'Integers are sent by the bitwise encoding: rates and SOPs count its spikes. 6 shifts per '
        'image are in the energies, 0.03 pJ each.'
    )
    assert report.made_from()['encoding'] == report.to_dict()['encoding'] == 'bitwise'
    assert report.max_spikes == 15


def shifted_layers():
    """The counts of a layer without shifts, and with three."""
    return (
        LayerCount(kind='linear', macs=8, macs_once=8, sops=5.0, spikes=2.0, weights=16,
                   output_size=1000, shifts=shifts)
        for shifts in (0, 3)
    )  # fmt: skip


def test_shifts_read_and_write_potentials():
    plain, shifted = shifted_layers()
    more = {name: one.layer_pj(shifted) - one.layer_pj(plain) for name, one in MEMORIES.items()}
    lemaire = next(name for name in MEMORIES if name.startswith('lemaire'))
    assert more[lemaire] == pytest.approx(3 * 2 * MEMORIES[lemaire].access_pj(1000))
    assert min(more.values()) > 0


def test_beside_a_quantised_ann_a_shift_is_an_addition():
    network = QuantisedANN()
    plain, shifted = map(network.network_pj, shifted_layers())
    assert shifted - plain == pytest.approx(3 * 0.1)


def test_encodings_do_not_mix():
    parts = [EnergyCounts(encoding=encoding) for encoding in ('bitwise', 'ternary', 'bitwise')]
    with pytest.raises(ValueError, match='counts of the encodings bitwise, ternary do not add up'):
        EnergyCounts.merged(parts)
    assert EnergyCounts.merged(parts[::2]).encoding == 'bitwise'
    with pytest.raises(ValueError, match=r"one of \('spike', 'bitwise', 'ternary'\), got 'unary'"):
        EnergyCounter(nn.Identity(), encoding='unary')
