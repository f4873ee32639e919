"""The outputs of a network that are stored while it runs its time steps in chunks."""

import torch
from torch import Tensor

from mmspike.ann2snn.early_exit import stable_since


class RunningMeans:
    """Means over all steps so far of every output tensor of the read-out."""

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._place = 0  # of the next tensor in this chunk

    def begin_chunk(self) -> None:
        """The next tensor is the first one again."""
        self._place = 0

    def add(self, x: Tensor, done: int, length: int, *, every_step: bool) -> Tensor:
        """Add one chunk of one output.

        Args:
            x: ``(length*B, ...)``.
            done: Steps before this chunk.
            length: Steps of this chunk.
            every_step: Return a mean for every step of the chunk.

        Returns:
            The mean up to the last step ``(B, ...)``, or those up to every step of the chunk
            ``(length*B, ...)``; of the dtype of ``x``.
        """
        # Over many steps, half precision would lose what one step adds.
        steps = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        steps = steps.unflatten(0, (length, -1))
        before = self._sums[self._place] if self._place < len(self._sums) else 0
        sums = steps.cumsum(0) + before if every_step else before + steps.sum(0)
        self._sums[self._place : self._place + 1] = [sums[-1] if every_step else sums]
        self._place += 1
        if not every_step:
            return (sums / (done + length)).to(x.dtype)
        numbers = torch.arange(1, length + 1, device=x.device) + done
        return (sums / numbers.view(-1, *[1] * x.dim())).flatten(0, 1).to(x.dtype)


class KeptScores:
    """Scores of a classifier after every step, and the step after which each sample's count.

    Args:
        patience: Steps for which the best class has to stay the same; None waits for all steps.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self._chunks: list[Tensor] = []

    def add(self, scores: Tensor, length: int) -> None:
        """Keep the scores ``(length*B, K)`` of one chunk."""
        self._chunks.append(scores.detach().unflatten(0, (length, -1)))

    def all(self) -> Tensor:
        """``(T, B, K)`` so far."""
        return torch.cat(self._chunks)

    def exits(self) -> Tensor | None:
        """Steps ``(B,)`` after which each sample's scores count, as far as known."""
        if self.patience is None:
            return None
        scores = self.all()
        exits = stable_since(scores, self.patience)
        return torch.where(exits > 0, exits, len(scores))

    def are_stable(self) -> bool:
        """Whether no sample needs another step."""
        if self.patience is None or not self._chunks:
            return False
        return bool((stable_since(self.all(), self.patience) > 0).all())

    def at_exits(self) -> Tensor | None:
        """Every sample's scores ``(B, K)`` at its exit."""
        exits = self.exits()
        if exits is None:
            return None
        scores = self.all()
        return scores[exits - 1, torch.arange(scores.shape[1], device=scores.device)]
