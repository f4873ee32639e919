import time

import pytest
import torch

from mmspike import cpu_threads
from mmspike.cpu_threads import CpuThreads, Usage, chosen_by_user, fitting_threads, usage

START = Usage(wall=100.0, idle=50.0, own=20.0)


# Two cores for two seconds: four seconds are shared out among us, others and nobody.
@pytest.mark.parametrize(
    ('idle', 'own', 'threads'),
    [
        (0.0, 4.0, 2),  # alone, both cores
        (2.0, 2.0, 2),  # alone, with one thread: the other core is free
        (0.0, 2.67, 1),  # two threads beside one busy program
        (0.0, 2.0, 1),  # one thread beside it
        (0.0, 1.33, 1),  # two threads beside four
        (0.0, 0.0, 1),  # never none
        (0.9, 2.0, 1),  # less than half a core more
        (1.0, 2.0, 2),  # half a core more
        (4.0, 4.0, 2),  # never more than the most
    ],
)
def test_threads_are_the_cores_that_others_leave(idle, own, threads):
    now = Usage(START.wall + 2.0, START.idle + idle, START.own + own)
    assert fitting_threads(START, now, most=2) == threads


def test_usage_counts_this_process_and_the_cores_that_it_may_use(monkeypatch, tmp_path):
    stat = tmp_path / 'stat'
    stat.write_text(
        'cpu  9 9 9 9999 9999 0 0\ncpu0 1 0 1 700 50 0 0\ncpu1 1 0 1 9000 9000 0 0\n'
        'cpu2 1 0 1 200 50 0 0\nctxt 5\n'
    )
    monkeypatch.setattr(cpu_threads, 'STAT', stat)
    monkeypatch.setattr(cpu_threads.os, 'sched_getaffinity', lambda pid: {0, 2})
    monkeypatch.setattr(cpu_threads.os, 'sysconf', lambda name: 100)
    before = time.process_time()
    found = usage()
    assert found.idle == 10.0
    assert before <= found.own <= time.process_time()


def test_the_environment_chooses():
    assert not chosen_by_user({'OMP_WAIT_POLICY': 'PASSIVE'})
    assert chosen_by_user({'OMP_NUM_THREADS': '4'})
    assert chosen_by_user({'MKL_NUM_THREADS': '1'})


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_torch_follows_the_load(monkeypatch, three_threads):
    # In seconds 0 to 2 others leave one core, from 2 to 4 none, from 4 to 6 all five.
    usages = iter(
        [Usage(0.0, 0.0, 0.0), Usage(2.0, 0.0, 2.0), Usage(4.0, 0.0, 2.2), Usage(6.0, 8.0, 4.2)]
    )
    monkeypatch.setattr(cpu_threads, 'usage', lambda: next(usages))
    threads = CpuThreads()
    monkeypatch.setattr(cpu_threads.time, 'monotonic', lambda: 0.5)
    assert not threads.update()  # too soon
    assert torch.get_num_threads() == 3
    monkeypatch.setattr(cpu_threads.time, 'monotonic', lambda: 9.0)
    assert threads.update()
    assert torch.get_num_threads() == 1
    assert not threads.update()
    assert torch.get_num_threads() == 1
    assert threads.update()
    assert torch.get_num_threads() == 3
    torch.set_num_threads(2)
    threads.restore()
    assert torch.get_num_threads() == 3
