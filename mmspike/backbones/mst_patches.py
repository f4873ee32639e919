"""Patch embedding and patch merging of MST."""

from collections.abc import Iterator

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import pad

from mmspike.layers import spike_conv
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, encode_input, work_of_steps

PATCH_SIZE = 4
# What the patch embedding of published weights takes.
IMAGE_CHANNELS = 3


class PatchEmbedding(TemporalModule, BaseModule):
    """Patches of 4x4 pixels, each a token: convolution, norm, neuron.

    Of an image that is the same at every step, convolution and norm are computed once.

    Args:
        in_channels: Channels of the input.
        embed_dims: Channels of the tokens.
        channel_align: Put a 1x1 convolution to 3 channels before.
        neuron_cfg: Config of the neuron.
        norm_cfg: Config of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        *,
        channel_align: bool,
        neuron_cfg: dict,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        channels = IMAGE_CHANNELS if channel_align else in_channels
        self.align = nn.Conv2d(in_channels, channels, 1) if channel_align else nn.Identity()
        self.projection = spike_conv(
            channels,
            embed_dims,
            PATCH_SIZE,
            stride=PATCH_SIZE,
            padding=0,
            bias=True,
            norm_cfg=norm_cfg,
            neuron_cfg=None,
        )
        self.neuron = MODELS.build(neuron_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` or ``(B, T, C, H, W)`` to ``(T*B, C', H/4, W/4)``, rounded up."""
        repeated = x.dim() == 4
        x = encode_input(x, 1 if repeated else self.timesteps)
        # Images are computed once for all steps.
        with work_of_steps(1 if repeated else self.total_timesteps):
            x = self.projection(_pad_to(self.align(x), PATCH_SIZE))
        if repeated:
            x = encode_input(x, self.timesteps)
        # Norms, neurons and windows are fastest where the channels of a token lie together.
        return self.neuron(x.contiguous(memory_format=torch.channels_last))


class PatchMerging(ConvModule):
    """Four neighbouring tokens become one of twice the width: norm, 1x1 convolution, neuron.

    Args:
        channels: Channels of the tokens.
        neuron_cfg: Config of the neuron.
        norm_cfg: Config of the norm.
    """

    def __init__(self, channels: int, *, neuron_cfg: dict, norm_cfg: dict) -> None:
        super().__init__(
            4 * channels,
            2 * channels,
            1,
            bias=False,
            norm_cfg=norm_cfg,
            act_cfg=neuron_cfg,
            order=('norm', 'conv', 'act'),
        )

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """The children in the order in which they run.

        ``ConvModule`` registers the convolution first. ``mmcv.cnn.fuse_conv_bn`` reads from this
        order which convolution a norm follows; here the norm follows none. The order of the
        parameters, by which optimisers are resumed, stays.
        """
        children = dict(super().named_children())
        yield from sorted(children.items(), key=lambda item: item[0] != self.norm_name)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to ``(T*B, 2*C, H/2, W/2)``, rounded up."""
        x = _pad_to(x, 2)
        # Down the columns first, as Swin does.
        neighbours = [x[:, :, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return super().forward(torch.cat(neighbours, 1))


def _pad_to(x: Tensor, multiple: int) -> Tensor:
    """Zeros at the right and below, up to a multiple."""
    height, width = (-side % multiple for side in x.shape[-2:])
    return pad(x, (0, width, 0, height)) if height or width else x
