"""The tool on small networks; in this process, because importing the hosts takes its time."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from support.paths import ROOT
from support.small_checkpoints import CLASSIFICATION, trained

CONVERSION = ROOT / 'configs/classification/conversion'
RELU = CONVERSION / 'resnet18-w16_1xb32-coslr-15e_digits.py'
QCFS = CONVERSION / 'resnet18-w16-qcfs8-t1_1xb32-coslr-15e_digits.py'


@pytest.fixture
def run(run_tool):
    """Run the tool; return its exit status and what it printed."""

    def call(*arguments):
        return run_tool('ann2snn.py', '--device', 'cpu', *arguments, '--out', 'out')

    return call


@pytest.mark.slow
def test_a_network_with_relus(run, tmp_path):
    status, out = run(*trained(RELU), '--timesteps', 6, '--chunk', 4, '--calibrate', 1)
    assert status == 0
    content = json.loads((tmp_path / 'out/conversion.json').read_text())
    assert set(content['results']) == {'the network', 'quantised', 'spiking, T=6'}
    assert len(content['top1_over_time']) == 6
    spiking = content['results']['spiking, T=6']
    assert content['top1_over_time'][-1] == pytest.approx(spiking['accuracy/top1'], abs=1e-3)
    assert spiking['energy per image (mJ)'] > 0
    parts = content['parts']
    assert len(parts['neurons']) == 9
    assert set(parts['replaced'].values()) == {'ReLU'}
    assert len(parts['folded']) == 20
    assert parts['analog'] == ['backbone.conv1', 'head.fc']
    assert 'norms folded into layers' in out
    assert (tmp_path / 'out/accuracy_over_time.png').read_bytes().startswith(b'\x89PNG')
    checkpoint = torch.load(tmp_path / 'out/quantised.pth', weights_only=True)
    assert sum('threshold' in name for name in checkpoint['state_dict']) == 9
    assert checkpoint['meta']['dataset_meta']['classes'] == tuple('0123456789')
    # The config that it writes is the spiking network.
    cfg = Config.fromfile(tmp_path / 'out/spiking.py')
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    assert metrics['accuracy/top1'] == pytest.approx(spiking['accuracy/top1'])
    assert runner.model.simulation.timesteps == 6


@pytest.mark.slow
def test_a_network_with_qcfs_stops_early(run, tmp_path):
    arguments = ('--timesteps', 40, '--chunk', 4, '--patience', 3, '--no-fold')
    status, _ = run(*trained(QCFS), *arguments)
    assert status == 0
    content = json.loads((tmp_path / 'out/conversion.json').read_text())
    assert set(content['results']) == {'quantised', 'spiking, T=40'}
    assert 3 <= content['results']['spiking, T=40']['accuracy/exit_step'] <= 40
    assert content['parts']['folded'] == []


@pytest.mark.slow
def test_what_cannot_be_converted(run):
    status, _ = run(*trained(CLASSIFICATION))
    assert 'spiking one already' in status
    status, _ = run(*trained(RELU), '--include', 'nowhere')
    assert "no activation to replace with include='nowhere'" in status
    status, _ = run(*trained(RELU), '--readout', 'nowhere', '--calibrate', 1)
    assert "no module 'nowhere'" in status
    status, _ = run(*trained(RELU), '--timesteps', 0)
    assert status == 2
