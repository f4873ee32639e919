"""Temporal efficient training: a loss at every time step instead of one on their mean.

Deng et al., "Temporal Efficient Training of Spiking Neural Network via Gradient Re-weighting"
(ICLR 2022, arXiv 2202.11946), with the constants of BICLab/Spike-Driven-Transformer::

    loss = (1 - lamb) * mean_t(loss_ce(logits[t], target)) + lamb * mean((logits - mean)**2)
"""

from typing import Any

from mmpretrain.registry import MODELS as HOST_MODELS
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mmspike.registry import MODELS


@MODELS.register_module()
class TETLoss(nn.Module):
    """Loss on the logits of every time step.

    Args:
        loss_ce: Config of the classification loss applied to each step.
        lamb: Weight of the term that pulls logits towards ``mean``, from 0 to 1.
        mean: Where that term pulls them; the firing threshold in the paper.

    Raises:
        ValueError: ``lamb`` is outside 0..1.
    """

    def __init__(
        self,
        loss_ce: dict = dict(type='mmpretrain.CrossEntropyLoss'),
        lamb: float = 1e-3,
        mean: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= lamb <= 1:
            raise ValueError(f'lamb must lie between 0 and 1, got {lamb!r}')
        self.loss_ce = HOST_MODELS.build(loss_ce)
        self.lamb = lamb
        self.mean = mean

    def forward(self, cls_score: Tensor, target: Tensor, **kwargs: Any) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: Logits ``(T, B, num_classes)``.
            target: Labels ``(B,)`` or scores ``(B, num_classes)``.
            **kwargs: Ignored; heads pass ``avg_factor``, and here the mean runs over steps too.
        """
        timesteps = cls_score.shape[0]
        repeated = target.repeat(timesteps, *[1] * (target.dim() - 1))
        loss = self.loss_ce(cls_score.flatten(0, 1), repeated)
        if self.lamb == 0:
            return loss
        pull = mse_loss(cls_score, cls_score.new_full((), self.mean).expand_as(cls_score))
        return (1 - self.lamb) * loss + self.lamb * pull
