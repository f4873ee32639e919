"""MetaSpikformer: the SDT v3 base network, also called E-SpikeFormer.

Paper: "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training"
(arXiv 2411.16061); the macro design comes from "Spike-driven Transformer V2" (arXiv 2404.03663).
Reference: BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Classification/Model_Base``, whose
published weights :mod:`mmspike.converters.sdtv3` converts.

Differences from the reference; with defaults, none changes the results of its weights:

- stochastic depth is applied where its rate is not 0 (the reference declares it and never does);
- the two matrix products of the attention are taken in the cheaper order;
- the MLP's pointwise convolutions are 2-D.
"""

from typing import Any

from torch import nn

from mmspike.backbones.pyramid import SpikePyramid, read_pyramid
from mmspike.layers import (
    SpikeAttention,
    SpikeConvBlock,
    SpikeMLP,
    SpikeSepConv,
    SpikeTransformerBlock,
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


@MODELS.register_module()
class MetaSpikformer(SpikePyramid):
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

    def __init__(
        self,
        arch: str | dict = 'small',
        *,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4),
        norm_cfg: dict = dict(type='BN'),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        **options: Any,
    ) -> None:
        arch = read_pyramid(arch, ARCHS)
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)

        def transformer_block(dims: int, rate: float) -> nn.Module:
            return SpikeTransformerBlock(
                dims,
                dict(
                    sep_conv=SpikeSepConv(dims, 3, **cfgs),
                    attn=SpikeAttention(dims, arch['num_heads'], **cfgs),
                    mlp=SpikeMLP(dims, **cfgs),
                ),
                drop_path_rate=rate,
                layer_scale_init_value=layer_scale_init_value,
            )

        super().__init__(
            arch['embed_dims'],
            arch['depths'],
            (arch['stem_stride'], 2, 2, 2, 1),
            conv_block=lambda dims: SpikeConvBlock(dims, **cfgs),
            transformer_block=transformer_block,
            conv_stages=3,
            drop_path_rate=drop_path_rate,
            **cfgs,
            **options,
        )
