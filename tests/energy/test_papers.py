"""The layout of papers: one layer by hand, CSV and LaTeX."""

import csv
import io

import pytest
import torch
from torch import nn

from mmspike import set_timesteps
from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.energy.papers import paper_csv, paper_latex, paper_rows
from mmspike.energy.step_rows import step_rates_csv
from mmspike.neurons import IF, SFA
from mmspike.recorders.step_rates import StepRateRecorder


class Net(nn.Sequential):
    def forward(self, x):
        x = super().forward(x)
        return x.flatten(2) @ x.flatten(2).mT


def report_of(neuron, timesteps):
    net = Net(nn.Conv2d(3, 4, 3, padding=1), neuron, nn.Conv2d(4, 4, 3, groups=2), neuron)
    net[0].weight.data.abs_()  # so that all fire
    set_timesteps(net, timesteps)
    with EnergyCounter(net) as counter, StepRateRecorder(net) as steps, torch.no_grad():
        net(torch.rand(timesteps * 2, 3, 6, 6) * 9)
    counter.samples = 2
    return EnergyReport(counter, name='a_net', step_rates=steps.rates())


def test_rows():
    report = report_of(SFA(D=4), 1)
    first, second, product = paper_rows(report)
    assert (first.layer, first.kernel, first.output) == ('0', '3x3', '4x6x6')
    assert (first.rate, first.D, first.sops) == (None, None, 0)
    assert first.energy == pytest.approx(first.flops * 4.6)
    assert (second.layer, second.kernel, second.output) == ('2', '3x3 /2', '4x4x4')
    assert (second.timesteps, second.D) == (1, 4)
    assert second.rate == report.layers[1].rate
    assert second.energy == pytest.approx(second.sops * 0.9)
    assert (product.kernel, product.output, product.D) == ('', '4x4', 4)


def test_d_is_in_the_rate_and_not_in_t():
    _, integer, _ = paper_rows(report_of(SFA(D=4), 1))
    _, binary, _ = paper_rows(report_of(IF(), 4))
    assert (integer.timesteps, integer.D) == (1, 4)
    assert integer.rate > 1
    assert (binary.timesteps, binary.D) == (4, 1)
    assert binary.rate <= 1


def test_csv():
    report = report_of(IF(), 4)
    rows = list(csv.DictReader(io.StringIO(paper_csv(report))))
    assert [row['layer'] for row in rows] == ['0', '2', '(model): product 1']
    assert float(rows[1]['energy']) == pytest.approx(report.layers[1].energy_pj / 1e6)
    assert rows[0]['rate'] == rows[0]['D'] == ''


def test_latex():
    lines = paper_latex(report_of(SFA(D=4), 1)).splitlines()
    assert lines[1] == r'\begin{longtable}{lllrrrrrr}'
    assert lines[-1] == r'\end{longtable}'
    body = [line for line in lines if line.endswith(r' \\')]
    assert len(body) == 5  # heads, three layers, total
    assert {line.count('&') for line in body} == {8}
    assert r'a\_net' in lines[-2]


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('a_%#&$', r'a\_\%\#\&\$'),
        ('{x}', r'\{x\}'),
        ('x^~', r'x\textasciicircum{}\textasciitilde{}'),
        ('a\\b', r'a\textbackslash{}b'),
        ('<a|>', r'\textless{}a\textbar{}\textgreater{}'),
    ],
)
def test_latex_of_any_name(name, text):
    net = nn.Sequential()
    net.add_module(name, nn.Linear(2, 2))
    with EnergyCounter(net) as counter:
        net(torch.rand(1, 2))
    latex = paper_latex(EnergyReport(counter, name=name))
    assert rf'\texttt{{{text}}}' in latex
    assert f'Energy of {text} per image' in latex


def test_rates_by_step():
    text = step_rates_csv(report_of(SFA(D=2), 2).step_rates)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row['step'], row['slot']) for row in rows] == [
        ('1', '1'), ('1', '2'), ('2', '1'), ('2', '2'),
    ]  # fmt: skip
    assert all(0 <= float(row['rate']) <= 1 for row in rows)
