import random
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmspike.hooks import ProgressSeedHook


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def epoch_draws(seed, epoch):
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    runner = SimpleNamespace(seed=seed, epoch=epoch, iter=7, train_loop=loop)
    ProgressSeedHook().before_train_epoch(runner)
    drawn = draw()
    ProgressSeedHook().before_train_iter(runner, 0)
    assert draw() != drawn  # by epochs, iterations do not start over
    return drawn


def test_an_epoch_draws_the_same_whatever_ran_before():
    first = epoch_draws(5, 3)
    torch.rand(100)
    epoch_draws(5, 4)
    assert epoch_draws(5, 3) == first


def test_epochs_seeds_and_ranks_differ(monkeypatch):
    seen = {epoch_draws(5, 3), epoch_draws(5, 4), epoch_draws(6, 3)}
    monkeypatch.setattr('mmspike.hooks.progress_seed_hook.get_rank', lambda: 1)
    seen.add(epoch_draws(5, 3))
    assert len(seen) == 4


def test_by_iterations_every_iteration_is_seeded():
    loop = IterBasedTrainLoop.__new__(IterBasedTrainLoop)

    def draws(iteration):
        runner = SimpleNamespace(seed=5, epoch=0, iter=iteration, train_loop=loop)
        ProgressSeedHook().before_train_iter(runner, iteration)
        return draw()

    whole = [draws(i) for i in range(6)]
    assert len(set(whole)) == 6
    torch.rand(10)
    resumed = SimpleNamespace(seed=5, epoch=0, iter=3, train_loop=loop)
    ProgressSeedHook().before_train_epoch(resumed)
    assert [draws(i) for i in range(3, 6)] == whole[3:]


def test_evaluations_draw_alike_and_leave_training_alone():
    hook, drawn = ProgressSeedHook(), []
    for epoch in (1, 2):
        loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
        runner = SimpleNamespace(seed=5, epoch=epoch, iter=7, train_loop=loop)
        hook.before_train_epoch(runner)
        expected = draw()
        hook.before_train_epoch(runner)
        hook.before_val_epoch(runner)
        drawn.append(draw())
        hook.after_val_epoch(runner)
        assert draw() == expected
        # An evaluation that was broken off is forgotten.
        hook.before_test_epoch(runner)
        hook.before_test_epoch(runner)
        drawn.append(draw())
        hook.after_test_epoch(runner)
    assert len(set(drawn)) == 1
    assert drawn[0] != epoch_draws(5, 0)


def test_ranks_evaluate_apart(monkeypatch):
    drawn = set()
    for rank in (0, 1):
        monkeypatch.setattr('mmspike.hooks.progress_seed_hook.get_rank', lambda rank=rank: rank)
        hook = ProgressSeedHook()
        hook.before_val_epoch(SimpleNamespace(seed=5))
        drawn.add(draw())
        hook.after_val_epoch(None)
    assert len(drawn) == 2
