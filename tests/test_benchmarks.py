"""The benchmark scripts run, and what they count is right."""

import csv
import re

import executions
import pytest
import torch
from candidates import NEURONS, candidates
from memory import Traffic, kept_bytes, peak_bytes
from sdt_energy import Formula, report_of
from slots import counts_of, random_network, rows

from mmspike.neurons import SFA
from mmspike.neurons.kernels import cpu
from support.paths import ROOT
from support.small_checkpoints import CLASSIFICATION, DETECTION, SEGMENTATION, trained

SDT_T4 = next((ROOT / 'configs/classification/sdt').glob('sdt-digits-lif-t4*.py'))
STEM = 'backbone.stages.0.downsample.conv'


RESNET = ROOT / 'configs/classification/conversion/resnet18-w16_1xb32-coslr-15e_digits.py'


@pytest.mark.slow
def test_neurons(run_program, tmp_path):
    out = run_program(
        'benchmarks/neurons.py', '--neurons', 8192, '--timesteps', 1, 2, '--threads', 1,
        '--repetitions', 1, '--neuron', 'LIF', 'SFA', '--out', tmp_path,
    ).stdout  # fmt: skip
    assert 'spikingjelly' in out
    rows = list(csv.DictReader((tmp_path / 'neurons.csv').read_text().splitlines()))
    assert len(rows) == 2 * 2 * 3 * 2  # T, neurons, candidates, directions
    assert all(float(row['times_limit']) > 0 for row in rows)
    for name in ('neurons', 'timesteps'):
        assert (tmp_path / f'{name}.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
def test_model(run_program):
    out = run_program(
        'benchmarks/model.py', '--arch', 'tiny', '--size', 32, '--batch', 1, '--repetitions', 1
    ).stdout
    for words in ('research code', 'spikingjelly', 'mmspike, folded', 'mkldnn_convolution'):
        assert words in out


@pytest.mark.slow
def test_large(run_program):
    out = run_program(
        'benchmarks/large.py', '--size', 32, '--batch', 2, '--repetitions', 1, '--device', 'cpu'
    ).stdout
    kept = [float(number) for number in re.findall(r'(\d+) +│ \d+ +│\n', out)]
    assert len(kept) == 4
    for plain, recomputed in (kept[:2], kept[2:]):
        assert recomputed < plain / 2


@pytest.mark.slow
def test_detector(run_program):
    out = run_program(
        'benchmarks/detector.py', '--size', 64, '--objects', 2, '--repetitions', 1
    ).stdout
    for words in ('MetaSpikformer medium', 'ResNet-50', 'neurons', 'RoIAlign'):
        assert words in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'options', 'metric', 'parts', 'analog'),
    [
        (CLASSIFICATION, [], 'accuracy/top1', ['label', 'scores'], STEM),
        (SDT_T4, [], 'accuracy/top1', ['label', 'scores'], 'backbone.stages.0.conv.conv'),
        (DETECTION, ['--double'], 'coco/bbox_mAP', ['labels', 'bboxes', 'scores', 'masks'],
         f'{STEM}, roi_head.bbox_head.fc_cls, roi_head.bbox_head.fc_reg'),
        (SEGMENTATION, ['--double'], 'mIoU', ['label_map', 'logits'], STEM),
    ],
    ids=['integers', 'binary', 'detector', 'segmentor'],
)  # fmt: skip
def test_executions(run_program, kind, options, metric, parts, analog):
    images = 4 if 'classification' in kind.parts else 2
    config, checkpoint = trained(kind)
    out = run_program('benchmarks/executions.py', config, checkpoint, *options).stdout
    lines = dict(line.split(': ', 1) for line in out.splitlines() if ': ' in line)
    assert f'{images} images, {"float64" if options else "float32"}' in out
    assert lines['analog'] == analog
    assert all(metric in lines[execution] for execution in ('integer', 'spike'))
    # Neurons fire: silent ones would agree whatever happens.
    assert not lines['neuron outputs'].endswith(' 0.0% of them not 0')
    for part in [*parts, 'everything']:
        assert lines[f'{part} equal'].partition(' images')[0].endswith(f'of {images}')
    # Nothing is rounded in float64, and binary spikes are what they were.
    if kind is not CLASSIFICATION:
        assert lines['integer'] == lines['spike']
        assert lines['neuron outputs that differ'] == '0'
        assert lines['everything equal'] == f'{images} of {images} images'


def test_slots():
    net = random_network(D=7)
    counts = counts_of(net, lambda: net(torch.rand(2, 3, 32, 32)))
    cells = [line.strip('| ').split(' | ') for line in rows(counts)]
    assert [cell[:3] for cell in cells] == [
        ['7', 'spike', '7'], ['7', 'bitwise', '3'], ['7', 'ternary', '4']
    ]  # fmt: skip
    assert [float(cell[3]) for cell in cells] == [3.5, 1.5, 1.38]
    rates, sops, _, energies = ([float(cell[i]) for cell in cells] for i in (4, 5, 6, 7))
    for falling in (rates, sops, energies):
        assert falling[0] > falling[1] > falling[2] > 0
    shifts = [sum(layer.shifts for layer in one.layers.values()) for one in counts.values()]
    assert shifts[0] == 0
    assert shifts[2] * 2 == shifts[1] * 3 > 0
    for one, energy in zip(counts.values(), energies, strict=True):
        sops = sum(layer.sops for layer in one.layers.values())
        shifts = sum(layer.shifts for layer in one.layers.values())
        assert energy == pytest.approx((sops * 0.9 + shifts * 0.03) / 2e6, abs=1e-3)


def test_executions_that_differ():
    comparison = executions.Comparison()
    one = dict(labels=torch.tensor([1, 2]), scores=torch.tensor([0.5, 0.25]))
    comparison.add(one, dict(one, scores=one['scores'] + 1e-5))
    comparison.add(one, dict(one, labels=torch.tensor([1, 3])))
    comparison.add(one, dict(one, scores=one['scores'] + 0.5))
    comparison.add(one, dict(labels=torch.tensor([1]), scores=torch.tensor([0.5])))
    assert comparison.same == dict(labels=2, scores=2, everything=1)
    assert comparison.largest == dict(scores=0.5)
    assert comparison.differ == dict(labels=1)
    assert list(comparison.lines())[-1] == 'everything equal: 1 of 4 images'

    net = torch.nn.Sequential(SFA(D=4), torch.nn.Linear(3, 3), SFA(D=4))
    spikes = executions.Spikes(net)
    x = torch.tensor([[0.0, 1.0, 2.0]])
    with spikes.keep():
        net(x)
    net[1].bias.data += 100
    with spikes.compare():
        net(x)
    assert (spikes.outputs, spikes.differ) == (6, 3)
    assert not any(module._forward_hooks for module in net)


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


@pytest.mark.slow
def test_published_energy_of_sdt_as_a_script(run_program):
    out = run_program('benchmarks/sdt_energy.py', '8-384', '--image', 32, '--layers').stdout
    assert '| backbone.stages.0.conv.conv | 1.33 |' in out
    assert '| 8-384 | 32 | 1.3 |' in out


@pytest.mark.slow
def test_rates_that_were_measured_for_sdt(run_program):
    out = run_program('benchmarks/sdt_energy.py', '--measured').stdout
    # 0.9 pJ x 4 steps x rate x MMACs, by hand.
    assert '| backbone.stages.1.conv.conv | 2080.90 | 0.1249 | 0.936 |' in out
    assert 'first layer 1x: the others take 3.37 of 6.09 mJ' in out


@pytest.mark.slow
def test_traffic(run_program):
    assert 'QCFS' in run_program('benchmarks/traffic.py').stdout


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
    if cpu.AVAILABLE:
        lif = candidates(['LIF'], 4, 'cpu')[0]
        sequence = torch.randn(8, 500)
        assert kept_bytes(lambda: lif(sequence.clone().requires_grad_())) == 16000


@pytest.mark.slow
def test_simulation(run_program):
    arguments = ('--timesteps', 2, '--chunk', 2, '--size', 32)
    out = run_program('benchmarks/simulation.py', *arguments, '--repetitions', 1).stdout
    for words in ('one forward per step, spikingjelly', 'mmspike, folded', 'T=2'):
        assert words in out
    # Both sides compute the same network.
    difference = re.search(r'differ\s+by\s+([\d.e-]+)', out)[1]
    assert float(difference) < 1e-4


@pytest.mark.slow
def test_conversion(run_program):
    out = run_program('benchmarks/conversion.py', *trained(RESNET), '--timesteps', 4).stdout
    for words in ('top-1 in % of 4 images', 'step by step', 'spikingjelly, 99.9 %', 't=4'):
        assert words in out


@pytest.mark.slow
def test_deploy(run_program, tmp_path):
    out = run_program(
        'benchmarks/deploy.py', '--size', 32, '--batch', 2, '--threads', 1, '--repetitions', 1,
        '--out', tmp_path,
    ).stdout  # fmt: skip
    assert 'ResNet-50, openvino, int8' in out
    rows = list(csv.DictReader((tmp_path / 'deploy.csv').read_text().splitlines()))
    ratios = {row['candidate']: float(row['times_research']) for row in rows}
    assert ratios['research code, PyTorch'] == 1
    assert {'openvino, int8', 'onnxruntime, float32', 'optimize_for_inference, PyTorch'} < set(
        ratios
    )
    assert (tmp_path / 'deploy.png').read_bytes().startswith(b'\x89PNG')
