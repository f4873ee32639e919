"""SDT v2: the second Spike-driven Transformer, also called Meta-SpikeFormer.

Paper: "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture Inspiring the Design
of Next-generation Neuromorphic Chips" (ICLR 2024, arXiv 2404.03663).
Reference: BICLab/Spike-Driven-Transformer-V2 (classification) and ``SDT_V3/Detection``,
``SDT_V3/Segmentation`` of BICLab/Spike-Driven-Transformer-V3 (dense prediction), whose published
weights :mod:`mmspike.converters.sdtv2` converts.

Differences from the reference; with defaults, none changes the results of its weights:

- stochastic depth is applied where its rate is not 0 (the reference declares it and never does);
- the products of the attention are taken in the cheaper order, and its MLP is 2-D;
- a call starts from rest (the released segmentation backbone carries its membranes over).
"""

from typing import Any

from torch import nn

from mmspike.backbones.pyramid import SpikePyramid, read_pyramid
from mmspike.layers import (
    SpikeAttention,
    SpikeConvBlock,
    SpikeMLP,
    SpikeTransformerBlock,
)
from mmspike.neurons.binary import BinaryNeuron
from mmspike.registry import MODELS

_WIDTHS = {
    '15M': (32, 64, 128, 256, 360),
    '31M': (48, 96, 192, 384, 480),
    '55M': (64, 128, 256, 512, 640),
    '124M': (96, 192, 384, 768, 960),
}
ARCHS: dict[str, dict] = {
    name: dict(embed_dims=widths, depths=(1, 1, 2, 6, 2), num_heads=8, stem_stride=2)
    for name, widths in _WIDTHS.items()
}


@MODELS.register_module()
class SDTV2(SpikePyramid):
    """Meta-SpikeFormer: three convolutional and two transformer stages on binary spikes.

    The outputs are membrane potentials (real numbers). At the default stem stride the five stages
    have strides 2, 4, 8, 16, 16. ``out_indices=(1, 2, 3, 4)`` are the maps of the reference's
    detectors, ``(0, 1, 2, 4)`` those of its segmentors.

    The projections of the attention are :class:`~mmspike.layers.RepConv`: chains in training, one
    3x3 convolution afterwards (:meth:`switch_to_deploy`). One layer of every convolutional block
    takes real numbers, also on spikes: the pointwise convolution behind the depthwise one, between
    which the network has no neuron (``analog_layers``).

    Args:
        arch: ``'15M'`` (15.1M parameters with a 1000-class head), ``'31M'`` (31.3M; the
            reference's ``8_384``), ``'55M'`` (55.4M; ``8_512``), ``'124M'`` (``8_768``), or a dict
            with ``embed_dims`` and ``depths`` of the five stages, ``num_heads`` and ``stem_stride``
            (1 for images of 32 pixels).
        timesteps: Number of time steps T: 1, or 4 after fine-tuning.
        neuron_cfg: Config of the neurons.
        out_neuron_cfg: Config of the neurons behind the attentions' products; None takes
            ``neuron_cfg``, with a threshold of 0.5 for binary neurons, as the reference does.
        norm_cfg: Config of the norms.
        drop_path_rate: Stochastic depth of the last transformer block; it rises linearly from 0
            at the first.
        **options: ``deploy``: see :class:`~mmspike.backbones.pyramid.SpikePyramid`.
            ``in_channels``, ``out_indices``, ``readout``, ``frozen_stages``, ``norm_eval``,
            ``with_cp``, ``init_cfg``: see :class:`~mmspike.backbones.base.StagedBackbone`.

    Raises:
        ValueError: An option is not acceptable; the message names it.

    Example:
        >>> import torch
        >>> from mmspike.backbones import SDTV2
        >>> net = SDTV2('15M', timesteps=4, out_indices=(1, 2, 3, 4))
        >>> [tuple(f.shape) for f in net(torch.rand(1, 3, 64, 64))]
        [(4, 64, 16, 16), (4, 128, 8, 8), (4, 256, 4, 4), (4, 360, 4, 4)]
        >>> net.out_strides
        (4, 8, 16, 16)
    """

    def __init__(
        self,
        arch: str | dict = '15M',
        *,
        timesteps: int = 1,
        neuron_cfg: dict = dict(type='mmspike.LIF'),
        out_neuron_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
        drop_path_rate: float = 0.0,
        **options: Any,
    ) -> None:
        arch = read_pyramid(arch, ARCHS)
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)
        if out_neuron_cfg is None:
            binary = isinstance(MODELS.build(neuron_cfg), BinaryNeuron)
            out_neuron_cfg = dict(neuron_cfg, threshold=0.5) if binary else neuron_cfg

        def transformer_block(dims: int, rate: float) -> nn.Module:
            attention = SpikeAttention(
                dims,
                arch['num_heads'],
                value_ratio=1,
                scale=0.125,
                conv_cfg=dict(type='mmspike.RepConv', norm_cfg=norm_cfg),
                kernel_size=3,
                out_neuron_cfg=out_neuron_cfg,
                **cfgs,
            )
            mlp = SpikeMLP(dims, **cfgs)
            return SpikeTransformerBlock(dims, dict(attn=attention, mlp=mlp), drop_path_rate=rate)

        super().__init__(
            arch['embed_dims'],
            arch['depths'],
            (arch['stem_stride'], 2, 2, 2, 1),
            conv_block=lambda dims: SpikeConvBlock(dims, analog_pointwise=True, **cfgs),
            transformer_block=transformer_block,
            conv_stages=3,
            drop_path_rate=drop_path_rate,
            timesteps=timesteps,
            **cfgs,
            **options,
        )
