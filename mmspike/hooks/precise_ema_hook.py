"""Averaged weights with batch-norm statistics of their own."""

from bisect import bisect
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import EMAHook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmspike.checks import check_integer
from mmspike.registry import HOOKS
from mmspike.seeding import seeded

# Where a checkpoint keeps the statistics that the averaged model would have without this hook.
SAVED_NORMS = 'ema_norms'


@HOOKS.register_module()
class PreciseEMAHook(EMAHook):
    """mmengine's ``EMAHook``, with the statistics of batch norms measured on the averaged weights.

    The plain hook evaluates averaged weights with the running statistics of the trained weights.
    Early in training the two differ much, and neurons with a threshold fall silent or saturate.
    This hook runs the averaged model over training images and takes the mean of the statistics of
    the batches (precise batch norm, arXiv 2105.07576). It does so after each epoch or, where
    training runs by iterations, before each validation. Validation, and checkpoints that are
    written before training goes on, hold the measured statistics.

    Measuring changes nothing else: weights, averages, running statistics and random numbers are
    what they are with the plain hook, also in a resumed run. Norms that training keeps in
    evaluation mode (``norm_eval``, frozen stages) keep their statistics.

    Args:
        num_samples: Number of training images to measure on, over all processes. They are drawn
            once and are the same every time; their augmentation is that of training.
        **kwargs: See :class:`mmengine.hooks.EMAHook`, for instance ``momentum``.

    Raises:
        TypeError, ValueError: ``num_samples`` is no positive integer.
    """

    def __init__(self, *, num_samples: int = 1024, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_samples = check_integer('num_samples', num_samples, at_least=1)
        # Buffers by their names; empty while training goes on.
        self._norms: dict[str, Tensor] = {}

    # --- When -----------------------------------------------------------------------------------

    def before_run(self, runner: Runner) -> None:
        """Copy the model; no statistics belong to the copy yet."""
        super().before_run(runner)
        self._norms = {}

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Forget the statistics: the weights are about to change."""
        self._norms = {}

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Average; measure if a validation follows and there are no epochs."""
        super().after_train_iter(runner, *args, **kwargs)
        loop, done = runner.train_loop, runner.iter + 1
        if isinstance(loop, IterBasedTrainLoop):
            # The interval that the loop will take once it has counted this iteration.
            place = bisect(loop.dynamic_milestones, done + 1) - 1
            if done % loop.dynamic_intervals[place] == 0 or done == loop.max_iters:
                self._measure(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Measure."""
        self._measure(runner)

    # --- Evaluation -----------------------------------------------------------------------------

    def before_val_epoch(self, runner: Runner) -> None:
        """Put averaged weights and measured statistics into the model."""
        super().before_val_epoch(runner)
        self._swap_norms()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Restore the weights and statistics of the model."""
        self._swap_norms()
        super().after_val_epoch(runner, metrics)

    def before_test_epoch(self, runner: Runner) -> None:
        """Put averaged weights and measured statistics into the model."""
        super().before_test_epoch(runner)
        self._swap_norms()

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Restore the weights and statistics of the model."""
        self._swap_norms()
        super().after_test_epoch(runner, metrics)

    def _swap_norms(self) -> None:
        """Swap the model's statistics with those in ``_norms``; a second call restores them."""
        buffers = dict(self.src_model.named_buffers())
        for name, values in self._norms.items():
            kept = buffers[name].clone()
            buffers[name].copy_(values)
            self._norms[name] = kept

    # --- Checkpoints ----------------------------------------------------------------------------

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save averaged weights with measured statistics, and the replaced statistics."""
        super().before_save_checkpoint(runner, checkpoint)
        if self._norms:
            state = checkpoint['state_dict']
            checkpoint[SAVED_NORMS] = {name: state[name] for name in self._norms}
            state.update(self._norms)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Resume with the statistics that the measured ones replaced."""
        if runner._resume:
            checkpoint['state_dict'].update(checkpoint.get(SAVED_NORMS, {}))
        super().after_load_checkpoint(runner, checkpoint)

    # --- Measuring ------------------------------------------------------------------------------

    def _measure(self, runner: Runner) -> None:
        """Fill ``_norms``."""
        model = self.ema_model.module
        training = model.training
        model.train()
        norms = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
        }
        kept = {name: (norm.momentum, _statistics(norm)) for name, norm in norms.items()}
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
        try:
            with seeded(runner.seed, 0, get_rank(), 2), torch.no_grad():
                for batch in self._loader(runner):
                    data = model.data_preprocessor(batch, True)
                    model(**data, mode='loss')
            for name, norm in norms.items():
                for key, value in _mean_over_processes(norm).items():
                    self._norms[f'{name}.{key}'] = value
        finally:
            for name, norm in norms.items():
                norm.momentum, statistics = kept[name]
                for key, value in statistics.items():
                    getattr(norm, key).copy_(value)
            model.train(training)

    def _loader(self, runner: Runner) -> DataLoader:
        """Batches of this process: as many whole ones as there are samples for, at least one."""
        loader = runner.train_dataloader
        dataset = loader.dataset
        # A batch sampler of its own, as mmdet's, leaves the loader without a batch size.
        size = loader.batch_size or loader.batch_sampler.batch_size
        processes = get_world_size()
        count = min(self.num_samples, len(dataset))
        count = max(count // (size * processes), 1) * size * processes
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(runner.seed))
        # Not the loader of training, whose sampler would go on.
        return DataLoader(
            dataset,
            batch_size=size,
            sampler=order[:count][get_rank() :: processes].tolist(),
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            worker_init_fn=loader.worker_init_fn,
        )


def _statistics(norm: nn.Module) -> dict[str, Tensor]:
    keys = ('running_mean', 'running_var', 'num_batches_tracked')
    return {key: getattr(norm, key).clone() for key in keys}


def _mean_over_processes(norm: nn.Module) -> dict[str, Tensor]:
    """Measured statistics; none where no process ran the norm."""
    means, variances = norm.get_buffer('running_mean'), norm.get_buffer('running_var')
    batches = norm.get_buffer('num_batches_tracked').to(means.dtype)
    sums = torch.stack([means, variances]) * batches
    all_reduce(batches)
    all_reduce(sums)
    if batches == 0:
        return {}
    mean, var = sums / batches
    return dict(running_mean=mean, running_var=var)
