"""The benchmark scripts run, and what they count is right."""

import csv

import pytest
import torch
from candidates import NEURONS, candidates
from memory import Traffic, kept_bytes, peak_bytes
from sdt_energy import Formula, report_of
from small_checkpoints import CLASSIFICATION, trained

from mmspike.neurons.kernels import host


def test_neurons(run_python, tmp_path):
    out = run_python(
        'benchmarks/neurons.py', '--neurons', 64, '--timesteps', 1, 2, '--threads', 1,
        '--repetitions', 1, '--neuron', 'LIF', 'SFA', '--out', tmp_path,
    ).stdout  # fmt: skip
    assert 'spikingjelly' in out
    rows = list(csv.DictReader((tmp_path / 'neurons.csv').read_text().splitlines()))
    assert len(rows) == 2 * 2 * 3 * 2  # T, neurons, candidates, directions
    assert all(float(row['times_limit']) > 0 for row in rows)
    for name in ('neurons', 'timesteps'):
        assert (tmp_path / f'{name}.png').read_bytes().startswith(b'\x89PNG')


def test_model(run_python):
    out = run_python(
        'benchmarks/model.py', '--arch', 'tiny', '--size', 32, '--batch', 1, '--repetitions', 1
    ).stdout
    for words in ('research code', 'spikingjelly', 'mmspike, folded', 'mkldnn_convolution'):
        assert words in out


def test_detector(run_python):
    out = run_python(
        'benchmarks/detector.py', '--size', 64, '--objects', 2, '--repetitions', 1
    ).stdout
    for words in ('MetaSpikformer medium', 'ResNet-50', 'neurons', 'RoIAlign'):
        assert words in out


def test_executions(run_python):
    out = run_python('benchmarks/executions.py', *trained(CLASSIFICATION)).stdout
    assert '4 images, torch.float32' in out
    assert 'analog: backbone.stages.0.downsample.conv\n' in out


def test_published_energy_of_sdt():
    """FLOPs worked out by hand, and rates that give the published energy back."""
    side, dims = 32, 512
    one = Formula.of('6-512', report_of('6-512', side).layers)
    at = [side**2 // 4**i for i in range(5)]
    assert one.first == 9 * 3 * 64 * at[0]
    convs = 9 * (64 * 128 * at[1] + 128 * 256 * at[2] + 256 * 512 * at[3] + 512 * 512 * at[4])
    blocks = 6 * 12 * dims**2 * at[4]
    assert one.layers == convs + blocks + dims * 1000
    assert one.masks == 6 * dims * at[4]
    for steps in (1, 4):
        spent = 4.6e-9 * one.first * steps
        spent += 0.9e-9 * 4 * one.implied_rate(steps) * (one.layers + 3 * one.masks)
        assert spent == pytest.approx(3.56)


def test_published_energy_of_sdt_as_a_script(run_python):
    out = run_python('benchmarks/sdt_energy.py', '8-384', '--image', 32, '--layers').stdout
    assert '| backbone.stages.0.conv.conv | 1.33 |' in out
    assert '| 8-384 | 32 | 1.3 |' in out


def test_traffic(run_python):
    assert 'QCFS' in run_python('benchmarks/traffic.py').stdout


def test_candidates_compute_the_same():
    x = torch.randn(8, 50) * 2
    for name in NEURONS:
        first, *others = candidates([name], 2, 'cpu')
        for other in others:
            assert torch.equal(first.forward(x), other.forward(x)), other


def test_counted_bytes():
    x = torch.randn(1000, requires_grad=True)
    with Traffic() as traffic:
        (x.detach() + 1).mul_(2)
    assert traffic.read == traffic.written == 8000
    assert kept_bytes(lambda: x.exp()) == 4000
    assert peak_bytes(lambda: (x.detach() + 1).sum(), 'cpu') >= 4000
    if host.AVAILABLE:
        lif = candidates(['LIF'], 4, 'cpu')[0]
        sequence = torch.randn(8, 500)
        assert kept_bytes(lambda: lif(sequence.clone().requires_grad_())) == 16000
