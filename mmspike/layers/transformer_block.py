"""The transformer block of Meta-SpikeFormer and SDT v3: residual branches on membranes."""

from collections.abc import Mapping

from mmcv.cnn.bricks.scale import LayerScale
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmspike.layers.drop_path import DropPath


class SpikeTransformerBlock(BaseModule):
    """``x + branch(x)`` for each branch in turn, such as an attention and an MLP.

    Args:
        embed_dims: Channels.
        branches: Name to branch, in order; the branches become submodules of these names.
        drop_path_rate: Probability of dropping each branch.
        layer_scale_init_value: Initial value of a learned factor per channel on each branch; None
            leaves the factors out. The factor of the i-th branch is ``scale{i}``, from 1.
    """

    def __init__(
        self,
        embed_dims: int,
        branches: Mapping[str, nn.Module],
        *,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
    ) -> None:
        super().__init__()
        self.branch_names = tuple(branches)
        for name, branch in branches.items():
            self.add_module(name, branch)
        for i in range(len(branches)):
            self.add_module(f'scale{i + 1}', _scale(embed_dims, layer_scale_init_value))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        for i, name in enumerate(self.branch_names, 1):
            scale = getattr(self, f'scale{i}')
            x = x + self.drop_path(scale(getattr(self, name)(x)))
        return x


def _scale(channels: int, init_value: float | None) -> nn.Module:
    if init_value is None:
        return nn.Identity()
    return LayerScale(channels, data_format='channels_first', scale=init_value)
