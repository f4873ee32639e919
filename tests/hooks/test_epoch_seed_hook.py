import random
from types import SimpleNamespace

import numpy as np
import torch

from mmspike.hooks import EpochSeedHook


def draws(seed, epoch):
    EpochSeedHook().before_train_epoch(SimpleNamespace(seed=seed, epoch=epoch))
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_an_epoch_draws_the_same_whatever_ran_before():
    first = draws(5, 3)
    torch.rand(100)
    draws(5, 4)
    assert draws(5, 3) == first


def test_epochs_seeds_and_ranks_differ(monkeypatch):
    seen = {draws(5, 3), draws(5, 4), draws(6, 3)}
    monkeypatch.setattr('mmspike.hooks.epoch_seed_hook.get_rank', lambda: 1)
    seen.add(draws(5, 3))
    assert len(seen) == 4
