"""SDTV3Large: the large networks of SDT v3, with 83M and 171M parameters.

Paper: "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training"
(arXiv 2411.16061). Reference: BICLab/Spike-Driven-Transformer-V3,
``SDT_V3/Classification/Model_Large/spikformer.py``.

Against :class:`~mmspike.backbones.MetaSpikformer`, its stem has no separable convolutions, one
stage of transformer blocks follows at stride 16, and each projection of an attention is trained as
two pointwise convolutions. The neurons round halves up and stop gradients at the ends 0 and D.
"""

from typing import Any

from torch import Tensor

from mmspike.backbones.pyramid import SpikePyramid, read_pyramid
from mmspike.layers import (
    SpikeAttention,
    SpikeConvBlock,
    SpikeMLP,
    SpikeTransformerBlock,
    spike_conv,
)
from mmspike.registry import MODELS


def _arch(embed_dims: tuple[int, ...], rep_expansion: float | None) -> dict:
    return dict(
        embed_dims=embed_dims,
        depths=(1, 1, 2, 12),
        num_heads=8,
        stem_stride=2,
        rep_expansion=rep_expansion,
    )


ARCHS: dict[str, dict] = {
    '12-512': _arch((64, 128, 256, 512), 1.0),
    '12-512-wide-rep': _arch((64, 128, 256, 512), 1.5),
    '12-768': _arch((98, 196, 384, 768), None),
    '12-768-smae': _arch((96, 192, 384, 768), None),
}
CONV_STAGES = 3


@MODELS.register_module()
class SDTV3Large(SpikePyramid):
    """Spiking vision transformer with three convolutional stages and one transformer stage.

    The outputs are membrane potentials (real numbers). ``out_channels`` and ``out_strides`` list
    channels and strides of the outputs; at the default stem stride the four stages have strides 2,
    4, 8 and 16.

    Args:
        arch: A name, or a dict with ``embed_dims`` and ``depths`` of the four stages,
            ``num_heads``, ``stem_stride`` (1 for images of 32 pixels) and ``rep_expansion``: the
            inner width, over the channels, of one more pair of pointwise convolutions at the
            beginning of each transformer block; None leaves it out. The names:

            - ``'12-512'``: 83M parameters, ``rep_expansion=1.0`` as in the released code;
            - ``'12-512-wide-rep'``: ``rep_expansion=1.5`` as in the released weights
              (SDT-V3 issue 9);
            - ``'12-768'``: 171M parameters, the widths of the released classifier, 98 and 196 in
              the first two stages;
            - ``'12-768-smae'``: the widths of the released pre-training, 96 and 192 there.

        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
        stem_norm_cfg: Config of the norms in front of the transformer blocks; None takes
            ``norm_cfg``.
        drop_path_rate: Stochastic depth of the last transformer block; it rises linearly from 0
            at the first.
        layer_scale_init_value: Initial value of learned factors per channel on attention and MLP;
            None for none, as in pre-training.
        **options: ``deploy``: see :class:`~mmspike.backbones.pyramid.SpikePyramid`.
            ``in_channels``, ``timesteps``, ``out_indices``, ``readout``, ``frozen_stages``,
            ``norm_eval``, ``with_cp`` and ``init_cfg``; see
            :class:`~mmspike.backbones.base.StagedBackbone`.

    Raises:
        ValueError: An option is not acceptable; the message names it.

    Example:
        >>> import torch
        >>> from mmspike.backbones import SDTV3Large
        >>> arch = dict(embed_dims=(8, 16, 32, 64), depths=(1, 1, 2, 2), num_heads=8,
        ...             stem_stride=2, rep_expansion=1.0)
        >>> net = SDTV3Large(arch, out_indices=(0, 1, 2, 3))
        >>> [tuple(f.shape) for f in net(torch.rand(2, 3, 64, 64))]
        [(2, 8, 32, 32), (2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4)]
        >>> net.out_strides
        (2, 4, 8, 16)
    """

    neuron_groups = dict(
        SpikePyramid.neuron_groups,
        conv=(*SpikePyramid.neuron_groups['conv'], 'stages.*.rep_conv.*'),
    )

    def __init__(
        self,
        arch: str | dict = '12-512',
        *,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4, rounding='half_up', grad_window='strict'),
        norm_cfg: dict = dict(type='BN'),
        stem_norm_cfg: dict | None = None,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = 1e-6,
        **options: Any,
    ) -> None:
        arch = read_pyramid(arch, ARCHS)
        stem: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=stem_norm_cfg or norm_cfg)
        super().__init__(
            arch['embed_dims'],
            arch['depths'],
            (arch['stem_stride'], 2, 2, 2),
            conv_block=lambda dims: SpikeConvBlock(dims, kernel_size=None, bias=True, **stem),
            transformer_block=lambda dims, rate: _TransformerBlock(
                dims,
                arch['num_heads'],
                rep_expansion=arch['rep_expansion'],
                drop_path_rate=rate,
                layer_scale_init_value=layer_scale_init_value,
                neuron_cfg=neuron_cfg,
                norm_cfg=norm_cfg,
            ),
            conv_stages=CONV_STAGES,
            drop_path_rate=drop_path_rate,
            **stem,
            **options,
        )


class _TransformerBlock(SpikeTransformerBlock):
    """``x + rep_conv(x)`` if there is one, then attention and MLP.

    Scale and stochastic depth act on attention and MLP alone.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        *,
        rep_expansion: float | None,
        neuron_cfg: dict,
        norm_cfg: dict,
        **options: Any,
    ) -> None:
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)
        chain = dict(type='mmspike.RepConv', norm_cfg=norm_cfg)
        attention = SpikeAttention(
            dims, num_heads, value_ratio=1, scale=0.125, conv_cfg=dict(chain, expansion=1.5), **cfgs
        )
        super().__init__(dims, dict(attn=attention, mlp=SpikeMLP(dims, **cfgs)), **options)
        self.rep_conv = (
            None
            if rep_expansion is None
            else spike_conv(
                dims,
                dims,
                conv_cfg=dict(chain, expansion=rep_expansion),
                neuron_cfg=neuron_cfg,
                norm_cfg=None,
                bias=False,
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.rep_conv is not None:
            x = x + self.rep_conv(x)
        return super().forward(x)
