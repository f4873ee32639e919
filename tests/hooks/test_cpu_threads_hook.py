import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from mmspike import cpu_threads
from mmspike.cpu_threads import Usage
from mmspike.hooks import cpu_threads_hook


class Toy(nn.Module):
    """Remembers with how many threads each step ran."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.threads = []

    def train_step(self, data, optim_wrapper):
        self.threads.append(torch.get_num_threads())
        return {'loss': self.weight}

    def test_step(self, data):
        self.threads.append(torch.get_num_threads())
        return []


def run(tmp_path, name, **options):
    runner = Runner(
        Toy(),
        str(tmp_path),
        train_dataloader=dict(
            dataset=[0] * 4,
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(threads=dict(type='mmspike.CpuThreadsHook')),
        default_scope='mmengine',
        experiment_name=name,
        log_level=logging.INFO,
        **options,
    )
    runner.train()
    return runner.model.threads


@pytest.fixture
def busy(monkeypatch):
    """Others leave one core from the second look on, and everything from the fourth."""
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.delenv('MKL_NUM_THREADS', raising=False)
    usages = iter(
        [
            Usage(0, 0, 0),
            Usage(1, 0, 1),
            Usage(2, 0, 1.4),
            Usage(3, 2, 2.4),
            Usage(4, 2, 4.4),
        ]
    )
    monkeypatch.setattr(cpu_threads, 'usage', lambda: next(usages))
    monkeypatch.setattr(cpu_threads, 'INTERVAL', float('-inf'))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield monkeypatch
    torch.set_num_threads(before)


def test_training_leaves_cores_to_others(busy, tmp_path):
    assert run(tmp_path, 'busy') == [1, 1, 2, 2]
    assert torch.get_num_threads() == 2
    logs = ''.join(file.read_text() for file in tmp_path.glob('*/*.log'))
    assert logs.count('torch uses 1 of 2 threads until they end. OMP_NUM_THREADS=N fixes') == 1


def test_the_number_of_threads_is_restored(busy, tmp_path):
    usages = iter([Usage(0, 0, 0)] + [Usage(i, 0, i) for i in range(1, 5)])
    busy.setattr(cpu_threads, 'usage', lambda: next(usages))
    assert run(tmp_path, 'restored') == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize('reason', ['user', 'gpu', 'deterministic', 'no /proc'])
def test_it_stands_back(busy, tmp_path, reason):
    options = {}
    if reason == 'user':
        busy.setenv('OMP_NUM_THREADS', '2')
    elif reason == 'gpu':
        cuda = SimpleNamespace(is_available=lambda: True)
        busy.setattr(cpu_threads_hook, 'torch', SimpleNamespace(cuda=cuda))
    elif reason == 'deterministic':
        options = dict(randomness=dict(seed=0, deterministic=True))
    else:
        busy.setattr(cpu_threads_hook, 'STAT', tmp_path / 'absent')
    try:
        assert run(tmp_path, reason.replace('/', ''), **options) == [2, 2, 2, 2]
    finally:
        torch.use_deterministic_algorithms(False)
