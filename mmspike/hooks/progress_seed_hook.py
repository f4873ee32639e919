"""Random numbers that depend on the progress of training and not on what ran before."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmspike.registry import HOOKS


@HOOKS.register_module()
class ProgressSeedHook(Hook):
    """Seed Python, numpy and torch anew at the start of every training epoch, or iteration.

    A resumed run has not drawn the numbers that were drawn before it, so without this hook its
    augmentations, mixup and stochastic depth differ from those of an uninterrupted run. Seeds come
    from the runner's seed, the rank, and the epoch, or the iteration where the loop runs by
    iterations. Loader workers are seeded by mmengine when they start, which repeats exactly unless
    ``persistent_workers`` keeps them over epochs. A loop by iterations fetches a batch before its
    iteration begins: there, keep random augmentation out of the main process (``num_workers`` of at
    least 1).
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed for epoch ``runner.epoch``."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            seed_all(runner.seed, runner.epoch, get_rank())

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Seed for iteration ``runner.iter`` where training does not run by epochs."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            seed_all(runner.seed, runner.iter, get_rank())


def seed_all(*entropy: int) -> None:
    """Seed Python, numpy and torch from several numbers."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
