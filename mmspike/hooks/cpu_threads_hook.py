"""Fewer threads while other programs are busy."""

import os
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmspike.cpu_threads import STAT, CpuThreads, chosen_by_user
from mmspike.registry import HOOKS


@HOOKS.register_module()
class CpuThreadsHook(Hook):
    """Gives torch as many CPU threads as other programs leave cores, during training and testing.

    Without it, training beside one busy program on two cores is two to three times slower (see
    :mod:`mmspike.cpu_threads`). It does nothing where there is a GPU, where
    ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` is set, and in deterministic runs
    (``randomness.deterministic``): sums of floats depend on the number of threads in their last
    digits.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._threads: CpuThreads | None = None
        self._told = False

    def before_run(self, runner: Runner) -> None:
        """Begin to watch the load."""
        if (
            self._threads is None
            and STAT.exists()
            and not torch.cuda.is_available()
            and not chosen_by_user(os.environ)
            and not runner.deterministic
        ):
            self._threads = CpuThreads()

    def after_run(self, runner: Runner) -> None:
        """Leave the number of threads as it was."""
        if self._threads is not None:
            self._threads.restore()
            self._threads = None

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Follow the load."""
        self._follow(runner)

    def before_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Follow the load."""
        self._follow(runner)

    def before_test_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Follow the load."""
        self._follow(runner)

    def _follow(self, runner: Runner) -> None:
        if self._threads is None or not self._threads.update() or self._told:
            return
        self._told = True
        runner.logger.info(
            f'Other programs are busy: torch uses {torch.get_num_threads()} of '
            f'{self._threads.most} threads until they end. OMP_NUM_THREADS=N fixes the number.'
        )
