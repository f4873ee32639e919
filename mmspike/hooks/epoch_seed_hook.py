"""Random numbers that depend on the epoch and not on what ran before it."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmspike.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed Python, numpy and torch anew at the start of every training epoch.

    A resumed run has not drawn the numbers that the epochs before it drew, so without this hook
    its augmentations, mixup and stochastic depth differ from those of an uninterrupted run. Seeds
    come from the runner's seed, the epoch and the rank. Loader workers are seeded by mmengine when
    they start, which repeats exactly unless ``persistent_workers`` keeps them over epochs.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed for epoch ``runner.epoch``."""
        state = np.random.SeedSequence([runner.seed, runner.epoch, get_rank()]).generate_state(1)
        seed = int(state[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
