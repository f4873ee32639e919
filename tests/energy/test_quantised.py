"""A quantised ANN beside the network: worked out by hand."""

import io
import math

import pytest
import torch
from rich.console import Console
from torch import nn

from mmspike import set_timesteps
from mmspike.energy import MEMORIES, EnergyCounter, EnergyReport, QuantisedANN, get_memory
from mmspike.energy.bit_costs import HOROWITZ_INTEGERS, bits_of
from mmspike.energy.html import energy_page
from mmspike.energy.quantised import compare
from mmspike.energy.tables import break_even_words, energy_table, quantised_cells, quantised_words
from mmspike.neurons import IF, SFA
from mmspike.temporal import TemporalModule, work_of_steps


@pytest.mark.parametrize(
    ('levels', 'bits'), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (15, 4), (16, 5)]
)
def test_bits_of_integers(levels, bits):
    assert bits_of(levels) == bits


def test_costs_are_those_of_the_source():
    costs = HOROWITZ_INTEGERS
    assert [costs.add_pj(bits) for bits in (8, 16, 32)] == [0.03, 0.05, 0.1]
    assert costs.add_pj(4) == pytest.approx(0.015)
    assert costs.mul_pj(8, 8) == 0.2
    assert costs.mul_pj(32, 32) == pytest.approx(3.1, rel=0.04)
    assert costs.mul_pj(4, 8) == costs.mul_pj(8, 4) == 0.1


def counted(net, x):
    with EnergyCounter(net) as counter, torch.no_grad():
        net(x)
    return counter


class Two(TemporalModule, nn.Module):
    """A linear layer on real numbers, neurons, and a linear layer on spikes."""

    def __init__(self, neuron, outputs=3):
        super().__init__()
        self.first = nn.Linear(2, 4, bias=False)
        self.neuron = neuron
        self.second = nn.Linear(4, outputs, bias=False)
        self.first.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])

    def forward(self, x):
        return self.second(self.neuron(self.first(x)))


def test_by_hand():
    # One image, T=1: currents 1, 3, 4, 0; SFA fires 1, 3, 4 and 0 of at most 4.
    report = EnergyReport(counted(Two(SFA(D=4)), torch.tensor([[1.0, 3.0]])))
    first, second = report.layers
    # 8 MACs of 8 x 8 bits: a multiplication of 0.2 and an addition of 32 bits, 0.1 pJ.
    assert first.bits == 8
    assert first.quantised_pj == first.quantised_ann_pj == pytest.approx(8 * 0.3)
    assert first.break_even is None
    # 0..4 takes 3 bits: 3 x 8 bits are 0.2 * 24 / 64 = 0.075 pJ; 12 MACs in the ANN.
    assert second.bits == 3
    assert second.quantised_ann_pj == pytest.approx(12 * 0.175)
    # 8 spikes to 3 outputs each.
    assert second.quantised_pj == pytest.approx(24 * 0.1)
    # 2 spikes per neuron: 12 MACs * 2 = 24 additions. Both equal at 1.75.
    assert (second.rate, second.break_even) == (2.0, pytest.approx(1.75))
    alone = report.comparisons[0]
    assert alone.memory == 'arithmetic alone'
    assert alone.network_mj * 1e9 == pytest.approx(2.4 + 2.4)
    assert alone.ann_mj * 1e9 == pytest.approx(2.4 + 2.1)
    assert alone.ratio == pytest.approx(4.5 / 4.8)
    assert (alone.rate, alone.break_even) == (2.0, pytest.approx(1.75))
    assert report.totals.quantised_mj == alone.network_mj
    assert report.totals.quantised_ann_mj == alone.ann_mj
    assert '3-bit activations' in quantised_words(report)
    assert 'below 1.7500 spikes' in break_even_words(report)


def test_several_steps():
    net = Two(IF())
    set_timesteps(net, 4)
    x = torch.tensor([[1.0, 3.0]]).repeat(4, 1)
    counter = counted(net, x)
    counter.samples = 1
    report = EnergyReport(counter)
    first, second = report.layers
    # T*D = 4 again; the ANN runs once, the network's first layer four times.
    assert second.bits == 3
    assert second.quantised_ann_pj == pytest.approx(12 * 0.175)
    assert first.quantised_pj == pytest.approx(4 * first.quantised_ann_pj)
    alone = report.comparisons[0]
    assert (alone.network_mj - alone.once_mj) * 1e9 == pytest.approx(3 * 2.4)
    # 12 spikes to 3 outputs, of 4 * 12 connections in 4 steps.
    assert alone.rate == pytest.approx(36 / 48)


def test_an_ann_alone_breaks_nowhere_even():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    report = EnergyReport(counted(net, torch.rand(5, 2)))
    assert {one.break_even for one in report.comparisons} == {None}
    assert 'Beside a quantised' not in energy_page([report])


@pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES)
def test_at_the_break_even_rate_both_need_the_same(memory):
    """The rate is found by scaling; here the network is given that rate."""
    counts = counted(Two(SFA(D=4), 500), torch.tensor([[1.0, 3.0], [2.0, 0.4]])).counts()
    found = compare(counts, QuantisedANN(), memory)
    assert found.break_even is not None
    factor = found.break_even / found.rate
    for one in (*counts.layers.values(), *counts.neurons.values()):
        one.spikes *= factor
    for one in counts.layers.values():
        one.sops *= factor
    again = compare(counts, QuantisedANN(), memory)
    assert again.network_mj == pytest.approx(again.ann_mj)
    assert again.rate == pytest.approx(found.break_even)


def test_a_network_that_loses_even_when_silent():
    # More neurons than connections: potentials alone cost more than the ANN.
    net = nn.Sequential(SFA(), nn.Linear(50, 1))
    counts = counted(net, torch.rand(1, 50) * 4).counts()
    assert compare(counts, QuantisedANN(weight_bits=1), get_memory('step2025')).break_even is None


def test_narrow_numbers_take_less():
    memory = get_memory('horowitz2014')
    assert memory.access_pj(8 * 1024, 8) == pytest.approx(5.0 / 4)  # 8 kB, a quarter of a word
    assert memory.access_pj(2 * 1024) == 5.0


def test_an_unknown_memory():
    with pytest.raises(ValueError, match="unknown memory model 'mine'; known are lemaire2022"):
        get_memory('mine')


def test_products_of_spikes_have_the_width_of_both_sides():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = SFA(D=4), SFA(D=15)

        def forward(self, x):
            return self.q(x) @ self.k(x).mT

    report = EnergyReport(counted(Attention(), torch.rand(2, 5, 3) * 4))
    (row,) = report.layers
    assert row.bits == 3
    assert row.quantised_ann_pj == pytest.approx(75 * (0.2 * 3 * 4 / 64 + 0.1))


class Twice(nn.Module):
    """One layer on real numbers and on spikes, or two of the same weights."""

    def __init__(self, shared):
        super().__init__()
        self.neuron, self.first = SFA(D=4), nn.Linear(6, 6, bias=False)
        self.second = self.first if shared else nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.neuron(9 * self.first(x)))


def test_a_layer_that_takes_real_numbers_and_spikes():
    x = torch.rand(2, 6)
    shared, apart = Twice(True), Twice(False)
    apart.first.weight.data.copy_(shared.first.weight.data)
    one, two = counted(shared, x).counts(), counted(apart, x).counts()
    # 72 MACs on pixels of 8 bits, and as many on integers of 3 bits.
    expected = 72 * (0.2 + 0.1) + 72 * (0.2 * 3 / 8 + 0.1)
    assert QuantisedANN().ann_pj(one.layers['first']) == pytest.approx(expected)
    for memory in (None, *MEMORIES.values()):
        got, wanted = (compare(counts, QuantisedANN(), memory) for counts in (one, two))
        assert got.ann_mj == pytest.approx(wanted.ann_mj)
        assert got.network_mj == pytest.approx(wanted.network_mj)


def test_counts_of_later_chunks_alone():
    net = nn.Sequential(SFA(), nn.Linear(6, 3))
    with work_of_steps(math.inf):  # of a simulation whose first chunk was not counted
        counter = counted(net, torch.rand(2, 6))
    for memory in MEMORIES:
        assert EnergyReport(counter, memory=memory).totals.ann_memory_mj == 0


def test_a_network_that_fires_nothing_has_no_break_even():
    net = nn.Sequential(SFA(), nn.Linear(6, 3))
    report = EnergyReport(counted(net, -torch.rand(2, 6)), name='quiet')
    alone, step = report.comparisons[0], report.comparisons[3]
    assert (alone.rate, alone.break_even, alone.never) == (0, None, False)
    assert quantised_cells(alone, random=False)[-1] == '-'
    assert 'quiet fired nothing' in break_even_words(report)
    # Reading and writing the potentials alone is more than all of the ANN.
    assert (step.memory, step.never) == ('step2025', True)
    assert quantised_cells(step, random=False)[-1] == 'never'


def test_names_are_no_markup_in_the_terminal():
    net = nn.Sequential(SFA(), nn.Linear(6, 3))
    report = EnergyReport(counted(net, torch.rand(2, 6)), name='run [a] [/b]')
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(energy_table(report))
    assert 'run [a] [/b]: energy per image' in console.export_text()


def test_the_encoder_alone_may_run_once():
    class ReadOut(Two):
        """A second layer on real numbers, which differ from step to step."""

        def __init__(self):
            super().__init__(IF())
            self.head = nn.Linear(3, 5, bias=False)

        def forward(self, x):
            return self.head(super().forward(x))

    net = ReadOut()
    set_timesteps(net, 4)
    counter = counted(net, torch.tensor([[1.0, 3.0]]).repeat(4, 1))
    counter.samples = 1
    alone = EnergyReport(counter).comparisons[0]
    # 8 MACs of the first layer at three of four steps less; all 15 of the head at every step.
    assert (alone.network_mj - alone.once_mj) * 1e9 == pytest.approx(3 * 8 * 0.3)


@pytest.mark.parametrize('memory', MEMORIES)
def test_notes_are_of_the_memory_model_that_was_asked_for(memory):
    report = EnergyReport(counted(Two(SFA(D=4)), torch.ones(1, 2)), memory=memory)
    (note,) = (one for one in report.notes() if one.startswith('Memory: '))
    assert ('queues' in note) == (memory != 'eyeriss2016')
    assert ('buffer' in note) == (memory == 'eyeriss2016')
