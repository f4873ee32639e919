"""Stochastic depth over time."""

from torch import Tensor, nn

from mmspike.temporal import TemporalModule, unfold_time


class DropPath(TemporalModule, nn.Module):
    """Drop the branch of a residual block per sample, for all time steps alike.

    A sample is one image or stream: were each of its T steps dropped on its own, no step would
    see the sub-network that stochastic depth (arXiv 1603.09382) trains.

    Args:
        drop_prob: Probability of dropping, from 0 up to but not including 1.

    Raises:
        ValueError: ``drop_prob`` is outside that range.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        if not 0 <= drop_prob < 1:
            raise ValueError(f'drop_prob must lie in [0, 1), got {drop_prob!r}')
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, ...)`` to the same shape; kept samples are scaled by ``1 / (1 - drop_prob)``."""
        if not self.training or self.drop_prob == 0:
            return x
        sequence = unfold_time(x, self.timesteps)
        keep = 1 - self.drop_prob
        mask = sequence.new_empty((1, sequence.shape[1], *[1] * (x.dim() - 1))).bernoulli_(keep)
        return (sequence * (mask / keep)).view_as(x)

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob}'
