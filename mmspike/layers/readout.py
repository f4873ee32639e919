"""Temporal read-out: from T steps to one output."""

from mmengine.model import BaseModule
from torch import Tensor

from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, unfold_time


@MODELS.register_module()
class TemporalMean(TemporalModule, BaseModule):
    """Mean over the time steps: ``(T*B, ...)`` to ``(B, ...)``.

    As a neck, or inside a backbone (``readout=True``), it hands the features of a spiking network
    to any stock head of mmpretrain, mmdet or mmseg.

    Args:
        timesteps: Number of steps T; :func:`mmspike.set_timesteps` sets it for a whole model.
        init_cfg: Initialisation config, see :class:`mmengine.model.BaseModule`.
    """

    def __init__(self, timesteps: int = 1, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.timesteps = timesteps

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        """Read out one map, or each map of a tuple."""
        if isinstance(x, Tensor):
            return self._mean(x)
        return tuple(map(self._mean, x))

    def _mean(self, x: Tensor) -> Tensor:
        return unfold_time(x, self.timesteps).mean(0)
