"""Early exit: the first step at which the predicted class is stable."""

import torch
from torch import Tensor


def stable_since(scores: Tensor, patience: int) -> Tensor:
    """First step (from 1) by which the best class was the same for ``patience`` steps; 0 if none.

    Args:
        scores: ``(T, B, K)``.
        patience: Number of steps, itself included.

    Returns:
        ``(B,)``, int64.
    """
    best = scores.argmax(-1)
    run = torch.ones_like(best[0])
    exits = torch.where(run >= patience, 1, 0)
    for t in range(1, len(best)):
        run = torch.where(best[t] == best[t - 1], run + 1, 1)
        exits = torch.where((exits == 0) & (run >= patience), t + 1, exits)
    return exits
