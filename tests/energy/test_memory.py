"""Memory accesses: by hand, and against spikingjelly's estimate by the same model."""

import csv
import io

import numpy as np
import pytest
import torch
from rich.console import Console
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.op_counter.analytical_energy import (
    LemaireEnergyCostConfig,
    estimate_lemaire_energy,
)
from torch import nn

from mmspike import set_timesteps
from mmspike.energy import EnergyCounter, EnergyReport, LayerCount, MemoryModel, NeuronCount
from mmspike.energy.html import energy_page
from mmspike.energy.memories import LEMAIRE
from mmspike.energy.tables import energy_table
from mmspike.neurons import IF, LIF, SFA

# One access costs as many pJ as there are numbers, a spike 1000.
PLAIN = MemoryModel('plain', ((0, 0.0), (1e6, 1e6)), word_bytes=1, queue=1000, source='none')


def counted(net, x):
    with EnergyCounter(net) as counter, torch.no_grad():
        net(x)
    return counter


def test_one_access():
    theirs = LemaireEnergyCostConfig()
    for words in (0, 1, 1000, 2048, 5000, 8192, 100_000, 2**18, 10**7):
        # Theirs is the energy of a byte, of which an access takes four.
        assert LEMAIRE.access_pj(words) == pytest.approx(4 * theirs.memory_cost_pj(4 * words))
    assert LEMAIRE.access_pj(8 * 1024 // 4) == 10
    assert LEMAIRE.access_pj(20 * 1024 // 4) == 15
    assert LEMAIRE.access_pj(10**9) == 100


class Chain(nn.Sequential):
    """A 1x1 convolution and a linear layer, whose connections both estimates count alike."""

    def forward(self, x):
        *convs, last, fire = self
        for module in convs:
            x = module(x)
        return fire(last(x.flatten(1)))


def test_spiking_layers_as_spikingjelly_counts_them():
    layers = nn.Conv2d(3, 8, 1, bias=False), nn.Linear(8 * 16, 10, bias=False)
    for layer in layers:
        nn.init.uniform_(layer.weight, 0, 0.6)
    ours, theirs = (
        Chain(kind(), layers[0], kind(), layers[1], kind()) for kind in (IF, neuron.IFNode)
    )
    x = torch.rand(1, 3, 4, 4) * 2
    report = EnergyReport(counted(ours, x), memory=True)
    expected = estimate_lemaire_energy(theirs, (x,))
    assert min(row.rate for row in report.layers) > 0.05
    assert expected.counts['synop'] == report.totals.sops
    assert report.totals.memory_mj * 1e9 == pytest.approx(expected.breakdown_pj['memory_pj'])


def test_analog_layers_as_spikingjelly_counts_them():
    # Windows that no border cuts: an ANN reads a full window in either case.
    convs = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 8, 3, stride=2, groups=4, bias=False)
    net = Chain(*convs, nn.Linear(8 * 9, 10, bias=False), nn.Linear(10, 4, bias=False))
    x = torch.rand(1, 3, 9, 9)
    report = EnergyReport(counted(net, x), memory=True)
    expected = estimate_lemaire_energy(net, (x,)).breakdown_pj['memory_pj']
    totals = report.totals
    assert totals.memory_mj * 1e9 == totals.ann_memory_mj * 1e9 == pytest.approx(expected)


def test_a_layer_by_hand():
    count = LayerCount(
        kind='conv2d', macs=200, analog_macs=80, macs_once=50.0, inputs=30, spikes=6.0, sops=24.0,
        analog_inputs=20, outputs=40, weights=9, input_size=5, output_size=4,
    )  # fmt: skip
    analog = 80 * 9 + 80 * 5 + 40 * 0.4 * 4
    assert PLAIN.layer_pj(count) == pytest.approx(6 * 1000 + 24 * (9 + 2 * 4) + analog)
    assert PLAIN.ann_pj(count) == pytest.approx(50 * 9 + 50 * 5 + 40 / 4 * 4)
    count.kind = 'linear'  # reads its inputs once
    assert PLAIN.ann_pj(count) == pytest.approx(50 * 9 + 50 / 4 * 5 + 40 / 4 * 4)
    assert (
        PLAIN.neurons_pj(
            NeuronCount(max_spikes=1, outputs_once=25, updates=100, spikes=7.0, active=7.0, size=25)
        )
        == 2 * 100 * 25 + 7 * 1000
    )


def test_sizes_are_those_of_a_sample_and_step():
    net = nn.Sequential(
        LIF(), nn.Conv2d(2, 6, 3, stride=2, groups=2), nn.Flatten(), nn.Linear(24, 5)
    )
    set_timesteps(net[0], 4)
    counts = counted(net, torch.rand(4 * 3, 2, 5, 5) * 4).counts()
    conv, linear = counts.layers.values()
    assert (conv.weights, conv.input_size, conv.output_size) == (6 * 9, 50, 6 * 4)
    assert conv.outputs == 4 * 3 * conv.output_size
    assert (linear.weights, linear.input_size, linear.output_size) == (24 * 5, 24, 5)
    assert (linear.inputs, linear.analog_inputs) == (0, 4 * 3 * 24)
    assert counts.neurons['0'].size == 50
    # An image more is no larger memory.
    more = counts.layers['1'] + counts.layers['1']
    assert (more.outputs, more.weights, more.input_size) == (2 * conv.outputs, 54, 50)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.fire = SFA(D=4)

    def forward(self, x):
        q, k = self.fire(x), self.fire(x + 1)
        return (q @ k.transpose(-2, -1)) @ torch.rand(2, 3, 7, 2)


def test_products():
    scores, values = counted(Attention(), torch.rand(2, 3, 7, 4)).counts().layers.values()
    assert (scores.weights, scores.input_size, scores.output_size) == (84, 84, 147)
    assert (values.weights, values.input_size, values.output_size) == (42, 147, 42)
    assert (values.analog_inputs, values.outputs) == (2 * 147, 2 * 42)


def test_no_objects():
    """Layers of regions have a batch of none where nothing was found."""
    net = nn.Sequential(SFA(D=4), nn.Linear(3, 2))
    counter = counted(net, torch.zeros(0, 3))
    counter.samples = 1
    assert EnergyReport(counter, memory=True).totals.memory_mj == 0


@pytest.fixture
def net_counts():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), SFA(D=4), nn.Conv2d(4, 8, 3))
    return counted(net, torch.rand(2, 3, 8, 8) * 4).counts()


def table_of(csv_text):
    """Without the lines that say what the numbers were made from."""
    return ''.join(x for x in csv_text.splitlines(keepends=True) if not x.startswith('#'))


def test_off_by_default(net_counts):
    report = EnergyReport(net_counts)
    assert report.totals.memory_mj is None
    assert 'memory' not in table_of(report.csv())
    written = report.to_dict()
    for row in (written, written['totals'], written['layers'][0], written['neurons'][0]):
        assert not any('memory' in name for name in row)
    assert 'memory µJ' not in energy_page([report])


def test_on(net_counts):
    plain, report = EnergyReport(net_counts), EnergyReport(net_counts, memory=True)
    assert report.totals.energy_mj == plain.totals.energy_mj
    rows = list(csv.DictReader(io.StringIO(table_of(report.csv()))))
    parts = [float(row['memory_pj']) for row in rows]
    neurons = [row.memory_pj for row in report.neurons]
    assert min(parts + neurons) > 0
    totals = report.totals
    assert totals.memory_mj == pytest.approx(sum(parts + neurons) / 1e9)
    assert totals.total_mj == totals.energy_mj + totals.memory_mj
    assert totals.memory_mj == pytest.approx(sum(s.memory_mj for s in report.stages().values()))
    assert totals.ann_total_mj == pytest.approx(
        totals.ann_mj + sum(float(row['ann_memory_pj']) for row in rows) / 1e9
    )
    assert report.to_dict()['memory']['name'] == 'lemaire2022'
    assert 'Lemaire' in energy_page([report])
    assert energy_page([report]).count('memory µJ') > 3
    out = io.StringIO()
    Console(file=out, width=160).print(energy_table(report))
    assert f'{totals.total_mj:.4g} mJ with memory (lemaire2022)' in out.getvalue()


def test_own_model(net_counts):
    totals = EnergyReport(net_counts, memory=PLAIN).totals
    assert np.isfinite(totals.memory_mj)
    assert totals.memory_mj != EnergyReport(net_counts, memory=LEMAIRE).totals.memory_mj
