"""SDT: the Spike-driven Transformer, first version.

Paper: "Spike-driven Transformer" (NeurIPS 2023, arXiv 2307.01694).
Reference: BICLab/Spike-Driven-Transformer, whose published weights
:mod:`mmspike.converters.sdt` converts.

What differs from the reference, at defaults nothing that its outputs can tell:

- modules that it declares and never calls are left out (a neuron and a convolution in every
  attention, a neuron in the patch embedding);
- stochastic depth is applied where its rate is not 0 (the reference declares it and never does);
- for event cameras, only k and v are pooled; ``legacy_dvs_pool`` repeats the rest.
"""

from collections.abc import Iterator
from itertools import accumulate
from operator import mul
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmspike.backbones.base import StagedBackbone, check_whole, named_arch, rising_rates
from mmspike.layers import DropPath, SpikeDrivenSelfAttention, SpikeMLP, spike_conv
from mmspike.registry import MODELS

# '<depth>-<channels>': ImageNet, then CIFAR and event cameras.
ARCHS: dict[str, dict] = {
    f'{depth}-{dims}': dict(embed_dims=dims, depth=depth)
    for depth, dims in ((8, 384), (6, 512), (8, 512), (10, 512), (8, 768), (2, 256), (2, 512))
}
NUM_CONVS = 4


def _max_pool(pool: bool) -> nn.Module:
    return nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()


class PatchConv(BaseModule):
    """A neuron, a max pool on its spikes, a 3x3 convolution and its norm.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        pool: Whether there is the pool, which halves the map.
        neuron_cfg: Config of the neuron; None for the first one, which sees the image.
        norm_cfg: Config of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pool: bool,
        neuron_cfg: dict | None,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.neuron = MODELS.build(neuron_cfg) if neuron_cfg else nn.Identity()
        self.pool = _max_pool(pool)
        self.conv = spike_conv(in_channels, out_channels, 3, neuron_cfg=None, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to ``(T*B, C', H', W')``."""
        return self.conv(self.pool(self.neuron(x)))


class PositionConv(BaseModule):
    """The end of the patch embedding: a max pool on membranes, then ``x + conv(x)``.

    The convolution, on spikes as always, tells tokens where they are (relative position).

    Args:
        channels: Input and output channels.
        pool: Whether there is the pool, which halves the map.
        neuron_cfg: Config of the neuron.
        norm_cfg: Config of the norm.
    """

    def __init__(self, channels: int, *, pool: bool, neuron_cfg: dict, norm_cfg: dict) -> None:
        super().__init__()
        self.pool = _max_pool(pool)
        self.conv = spike_conv(channels, channels, 3, neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to ``(T*B, C, H', W')``."""
        x = self.pool(x)
        return x + self.conv(x)


class SDTBlock(BaseModule):
    """``x + attention(x)``, then ``x + mlp(x)``, on membranes.

    Args:
        embed_dims: Channels.
        drop_path_rate: Probability of dropping each of the two branches.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
        **attn_options: See :class:`~mmspike.layers.SpikeDrivenSelfAttention`.
    """

    def __init__(
        self,
        embed_dims: int,
        *,
        drop_path_rate: float,
        neuron_cfg: dict,
        norm_cfg: dict,
        **attn_options,
    ) -> None:
        super().__init__()
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)
        self.attn = SpikeDrivenSelfAttention(embed_dims, **cfgs, **attn_options)
        self.mlp = SpikeMLP(embed_dims, **cfgs)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        x = x + self.drop_path(self.attn(x))
        return x + self.drop_path(self.mlp(x))


@MODELS.register_module()
class SDT(StagedBackbone):
    """Spike-driven Transformer: four convolutions, then transformer blocks of one width.

    Stages, which all end in membrane potentials (real numbers):

    - 0 to 3: the convolutions of the patch embedding, with 1/8, 1/4, 1/2 and 1 of the channels;
      at ``pooling_stat='1111'`` their strides are 1, 2, 4 and 8;
    - 4: the end of the patch embedding, stride 16;
    - 5 and on: the blocks, of the same stride.

    So ``out_indices=(2, 3, -1)`` is a pyramid of strides 4, 8 and 16 for an FPN: maps that the
    network computes anyway, before its pools. ``out_channels`` and ``out_strides`` list channels
    and strides of the outputs.

    Args:
        arch: ``'8-384'`` (16.8M parameters with a 1000-class head), ``'6-512'`` (23.4M),
            ``'8-512'`` (29.7M), ``'10-512'`` (36.0M), ``'8-768'`` (66.3M); for small images
            ``'2-256'``, ``'2-512'``; or a dict with ``embed_dims`` (a multiple of 8) and
            ``depth``.
        pooling_stat: One digit for each convolution, 1 where a max pool halves its map: ``'1111'``
            for ImageNet, ``'0011'`` for CIFAR and CIFAR10-DVS, ``'0111'`` for DVS128 Gesture. The
            first three pools work on spikes, the last one on membranes.
        dvs_pool: Let the spikes of k and v spread to the 3x3 positions around them (the
            reference's mode for event cameras).
        legacy_dvs_pool: Pool in two more places, over the wrong axes, as the released code does
            in that mode. Only for weights that were trained with it.
        num_heads: Heads; they matter to ``legacy_dvs_pool`` only.
        in_channels: Channels of the input: 3 of images, 2 of event frames.
        timesteps: Number of time steps T.
        out_indices: Stages to return; negative ones count from the end. Outputs, ``out_channels``
            and ``out_strides`` are in the order of the stages.
        neuron_cfg: Config of the neurons; they have to be binary ones (IF, LIF, PLIF).
        kv_neuron_cfg: Config of the neurons behind the attention's sums; None takes
            ``neuron_cfg`` with a threshold of 0.5, as the reference does.
        norm_cfg: Config of the norms.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
            The reference's configs say 0.2, but its code does not apply it.
        readout: Return the mean over time ``(B, C, H, W)`` instead of all steps, for stock heads.
        frozen_stages: Freeze the stages up to and including this one; -1 freezes none.
        norm_eval: Keep the norms in evaluation mode while training.
        with_cp: Recompute the stages' activations in backward to save memory.
        init_cfg: Initialisation config; the default is the reference's.

    Raises:
        ValueError: An option is not acceptable; the message names it.

    Example:
        >>> import torch
        >>> from mmspike.backbones import SDT
        >>> net = SDT(dict(embed_dims=64, depth=2), timesteps=4, out_indices=(2, 3, -1))
        >>> [tuple(f.shape) for f in net(torch.rand(1, 3, 64, 64))]
        [(4, 32, 16, 16), (4, 64, 8, 8), (4, 64, 4, 4)]
        >>> net.out_strides
        (4, 8, 16)
    """

    # It sees the image, which is no spike train (see mmspike.execution).
    analog_layers = ('stages.0.conv.conv',)
    neuron_groups = dict(
        self_attention=('stages.*.attn.[qkv].activate', 'stages.*.attn.kv_neuron'),
        mlp=('stages.*.mlp.*',),
    )

    def __init__(
        self,
        arch: str | dict = '8-384',
        *,
        pooling_stat: str = '1111',
        dvs_pool: bool = False,
        legacy_dvs_pool: bool = False,
        num_heads: int = 8,
        in_channels: int = 3,
        timesteps: int = 4,
        out_indices: tuple[int, ...] = (-1,),
        neuron_cfg: dict = dict(type='mmspike.LIF'),
        kv_neuron_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
        drop_path_rate: float = 0.0,
        readout: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list | None = dict(type='TruncNormal', layer='Conv2d', std=0.02),
    ) -> None:
        arch = read_arch(arch)
        dims, depth = arch['embed_dims'], arch['depth']
        if not isinstance(pooling_stat, str):
            raise ValueError(
                f"pooling_stat must be a str, such as '1111', got {pooling_stat!r} "
                f'({type(pooling_stat).__name__}); --cfg-options makes a number of it: set it in a '
                'config file'
            )
        if len(pooling_stat) != NUM_CONVS or not set(pooling_stat) <= {'0', '1'}:
            raise ValueError(
                f"pooling_stat must be {NUM_CONVS} digits 0 or 1, such as '1111', "
                f'got {pooling_stat!r}'
            )
        pools = [digit == '1' for digit in pooling_stat]
        widths = (dims // 8, dims // 4, dims // 2, dims)
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)

        def stages() -> Iterator[nn.Module]:
            yield PatchConv(in_channels, widths[0], pool=False, **dict(cfgs, neuron_cfg=None))
            for i in range(1, NUM_CONVS):
                yield PatchConv(widths[i - 1], widths[i], pool=pools[i - 1], **cfgs)
            yield PositionConv(dims, pool=pools[-1], **cfgs)
            for rate in rising_rates(drop_path_rate, depth):
                yield SDTBlock(
                    dims,
                    drop_path_rate=rate,
                    kv_neuron_cfg=kv_neuron_cfg,
                    dvs_pool=dvs_pool,
                    legacy_dvs_pool=legacy_dvs_pool,
                    num_heads=num_heads,
                    **cfgs,
                )

        strides = tuple(accumulate((1, *(1 + pool for pool in pools)), mul))
        super().__init__(
            stages(),
            (*widths, *[dims] * (1 + depth)),
            (*strides, *[strides[-1]] * depth),
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
        ValueError: The name is unknown, a key is missing or unknown, or a number not acceptable.
    """
    arch = named_arch(arch, ARCHS)
    check_whole(arch, *arch)
    if arch['embed_dims'] % 8:
        raise ValueError(f'embed_dims of an arch must be a multiple of 8, got {arch["embed_dims"]}')
    return arch
