"""The number of torch's threads beside other programs on the same cores.

The threads of an OpenMP team wait for each other after every operation. Where another program takes
one of their cores, all of them wait for the thread that has none, and most of them spin meanwhile:
two threads on two cores, one of which is busy, are slower than one thread alone.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

# Seconds between two looks; the kernel counts in hundredths.
INTERVAL = 1.0
STAT = Path('/proc/stat')


class Usage(NamedTuple):
    """Seconds since some moment.

    Attributes:
        wall: Passed.
        idle: During which a core that this process may use did nothing, summed over the cores.
        own: Of computing in this process, summed over its threads.
    """

    wall: float
    idle: float
    own: float


def usage() -> Usage:
    """Read the counters of the kernel.

    Raises:
        OSError: The system has no ``/proc/stat``.
    """
    cores = {f'cpu{core}' for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in STAT.read_text().splitlines():
        name, *counters = line.split()
        if name in cores:
            ticks += int(counters[3]) + int(
                counters[4]
            )  # idle, and idle while a disk is waited for
    return Usage(time.monotonic(), ticks / os.sysconf('SC_CLK_TCK'), time.process_time())


def fitting_threads(before: Usage, now: Usage, most: int) -> int:
    """Number of threads for the cores that this process used, or were free, between two moments.

    Args:
        before: Earlier moment.
        now: Later moment.
        most: The most threads to use.

    Returns:
        Between 1 and ``most``.
    """
    passed = now.wall - before.wall
    available = (now.idle - before.idle + now.own - before.own) / passed
    return max(1, min(most, int(available + 0.5)))


def chosen_by_user(environment: Mapping[str, str]) -> bool:
    """Whether environment variables say how many threads to use."""
    return any(name in environment for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'))


class CpuThreads:
    """Adapts torch's number of threads to the free cores.

    It must be updated from the thread that computes: OpenMP keeps the number per thread. The
    number that torch has at the beginning is the most that it is ever set to.
    """

    def __init__(self) -> None:
        self.most = torch.get_num_threads()
        self._last = usage()

    def update(self) -> bool:
        """Look at the load, at most every :data:`INTERVAL` seconds; return whether it changed."""
        if time.monotonic() - self._last.wall < INTERVAL:
            return False
        before, self._last = self._last, usage()
        threads = fitting_threads(before, self._last, self.most)
        if threads == torch.get_num_threads():
            return False
        torch.set_num_threads(threads)
        return True

    def restore(self) -> None:
        """Give torch the number of threads that it had at the beginning."""
        torch.set_num_threads(self.most)
