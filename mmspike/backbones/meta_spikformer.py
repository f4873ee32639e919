"""MetaSpikformer: the SDT v3 base network, also called E-SpikeFormer.

Paper: "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training"
(arXiv 2411.16061); the macro design comes from "Spike-driven Transformer V2" (arXiv 2404.03663).
Reference: BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Classification/Model_Base``, whose
published weights :mod:`mmspike.converters.sdtv3` converts.

What differs from the reference, at defaults nothing that its weights can tell:

- stochastic depth is applied where its rate is not 0 (the reference declares it and never does);
- the two matrix products of the attention are taken in the cheaper order;
- the MLP's pointwise convolutions are 2-D.
"""

from collections.abc import Iterator
from itertools import accumulate
from operator import mul
from typing import Any

from mmcv.cnn.bricks.scale import LayerScale
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmspike.backbones.base import Stage, StagedBackbone, named_arch, rising_rates
from mmspike.layers import (
    DropPath,
    SpikeAttention,
    SpikeConvBlock,
    SpikeMLP,
    SpikeSepConv,
    spike_conv,
)
from mmspike.registry import MODELS

_DEPTHS = (1, 1, 2, 6, 2)
ARCHS: dict[str, dict] = {
    'tiny': dict(embed_dims=(12, 24, 48, 96, 128), depths=_DEPTHS, num_heads=8, stem_stride=2),
    'small': dict(embed_dims=(16, 32, 64, 128, 192), depths=_DEPTHS, num_heads=8, stem_stride=2),
    'medium': dict(embed_dims=(24, 48, 96, 192, 240), depths=_DEPTHS, num_heads=8, stem_stride=2),
    'large': dict(embed_dims=(32, 64, 128, 256, 360), depths=_DEPTHS, num_heads=8, stem_stride=2),
}
NUM_STAGES = 5
FIRST_TRANSFORMER_STAGE = 3


class SpikeTransformerBlock(BaseModule):
    """``x + sep_conv(x)``, ``x + attention(x)``, ``x + mlp(x)``.

    Args:
        embed_dims: Channels.
        num_heads: Heads of the attention.
        drop_path_rate: Probability of dropping each of the three branches.
        layer_scale_init_value: Initial value of a learned factor per channel on each branch; None
            leaves the factors out.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        *,
        drop_path_rate: float,
        layer_scale_init_value: float | None,
        neuron_cfg: dict,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)
        self.sep_conv = SpikeSepConv(embed_dims, 3, **cfgs)
        self.attn = SpikeAttention(embed_dims, num_heads, **cfgs)
        self.mlp = SpikeMLP(embed_dims, **cfgs)

        def scale() -> nn.Module:
            if layer_scale_init_value is None:
                return nn.Identity()
            return LayerScale(
                embed_dims, data_format='channels_first', scale=layer_scale_init_value
            )

        self.scale1, self.scale2, self.scale3 = scale(), scale(), scale()
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        x = x + self.drop_path(self.scale1(self.sep_conv(x)))
        x = x + self.drop_path(self.scale2(self.attn(x)))
        return x + self.drop_path(self.scale3(self.mlp(x)))


@MODELS.register_module()
class MetaSpikformer(StagedBackbone):
    """Spiking vision transformer with three convolutional and two transformer stages.

    The outputs are membrane potentials (real numbers), as every consumer of theirs begins with a
    neuron. ``out_channels`` and ``out_strides`` list channels and strides of the outputs;
    at the default stem stride the five stages have strides 2, 4, 8, 16, 16.

    Args:
        arch: ``'tiny'`` (2.7M parameters with a 1000-class head), ``'small'`` (5.1M),
            ``'medium'`` (10M), ``'large'`` (19M), or a dict with ``embed_dims`` and ``depths`` of
            the five stages, ``num_heads`` and ``stem_stride`` (1 for images of 32 pixels).
        in_channels: Channels of the input.
        timesteps: Number of time steps T.
        out_indices: Stages to return, from 0 to 4. Outputs, ``out_channels`` and ``out_strides``
            are in the order of the stages.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
        drop_path_rate: Stochastic depth of the last transformer block; it rises linearly from 0
            at the first.
        layer_scale_init_value: Initial value of learned factors per channel on the branches of
            the transformer blocks; None for none, as in the published classification weights.
        readout: Return the mean over time ``(B, C, H, W)`` instead of all steps, for stock heads.
        frozen_stages: Freeze the stages up to and including this one; -1 freezes none.
        norm_eval: Keep the norms in evaluation mode while training.
        with_cp: Recompute the blocks' activations in backward to save memory.
        init_cfg: Initialisation config. None leaves torch's own initialisation of convolutions,
            as the reference does.

    Raises:
        ValueError: An option is not acceptable; the message names it.

    Example:
        >>> import torch
        >>> from mmspike.backbones import MetaSpikformer
        >>> net = MetaSpikformer('tiny', out_indices=(1, 2, 3, 4))
        >>> [tuple(f.shape) for f in net(torch.rand(2, 3, 64, 64))]
        [(2, 24, 16, 16), (2, 48, 8, 8), (2, 96, 4, 4), (2, 128, 4, 4)]
        >>> net.out_strides
        (4, 8, 16, 16)
    """

    # It sees the image, which is no spike train (see mmspike.execution).
    analog_layers = ('stages.0.downsample.conv',)
    neuron_groups = dict(
        self_attention=('stages.*.attn.[qkv].activate',),
        mlp=('stages.*.mlp.*',),
        conv=('stages.*.sep_conv.*', 'stages.*.conv[12].*'),
    )

    def __init__(
        self,
        arch: str | dict = 'small',
        *,
        in_channels: int = 3,
        timesteps: int = 1,
        out_indices: tuple[int, ...] = (4,),
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4),
        norm_cfg: dict = dict(type='BN'),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        readout: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        arch = read_arch(arch)
        strides = (arch['stem_stride'], 2, 2, 2, 1)
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)

        def stages() -> Iterator[Stage]:
            depths = arch['depths']
            rates = iter(rising_rates(drop_path_rate, sum(depths[FIRST_TRANSFORMER_STAGE:])))
            width = in_channels
            for i, dims in enumerate(arch['embed_dims']):
                downsample = spike_conv(
                    width,
                    dims,
                    3 if i else 7,
                    stride=strides[i],
                    bias=True,
                    norm_cfg=norm_cfg,
                    # The image is no spike train: the first convolution sees it as it is.
                    neuron_cfg=neuron_cfg if i else None,
                )
                if i < FIRST_TRANSFORMER_STAGE:
                    blocks = [SpikeConvBlock(dims, **cfgs) for _ in range(depths[i])]
                else:
                    blocks = [
                        SpikeTransformerBlock(
                            dims,
                            arch['num_heads'],
                            drop_path_rate=next(rates),
                            layer_scale_init_value=layer_scale_init_value,
                            **cfgs,
                        )
                        for _ in range(depths[i])
                    ]
                yield Stage(downsample, blocks)
                width = dims

        super().__init__(
            stages(),
            arch['embed_dims'],
            tuple(accumulate(strides, mul)),
            in_channels=in_channels,
            timesteps=timesteps,
            out_indices=out_indices,
            readout=readout,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )


def read_arch(arch: str | dict) -> dict:
    """Return the settings of an architecture given by name or as a dict.

    Raises:
        ValueError: The name is unknown, or a key is missing, unknown or of the wrong length.
    """
    arch = named_arch(arch, ARCHS)
    for key in ('embed_dims', 'depths'):
        if len(arch[key]) != NUM_STAGES:
            raise ValueError(
                f'{key} of an arch needs one number for each of the {NUM_STAGES} stages, '
                f'got {arch[key]}'
            )
    return arch
