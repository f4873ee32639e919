"""What the learning rate of a config does in training."""

import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope


def learning_rates(cfg: Config, per_epoch: int | None = None) -> list[float]:
    """Learning rate of each epoch; of each iteration where ``per_epoch`` says how many there are.

    Args:
        cfg: A config with ``param_scheduler``.
        per_epoch: Iterations of an epoch, for schedules by iteration. A few will do: those of the
            package are given in epochs.
    """
    init_default_scope('mmpretrain')
    rate = cfg.optim_wrapper.optimizer.lr
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    defaults = dict(optimizer=optimizer, epoch_length=per_epoch)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one), default_args=defaults) for one in cfg.param_scheduler
    ]
    rates = []
    for _ in range(cfg.train_cfg.max_epochs * (per_epoch or 1)):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates
