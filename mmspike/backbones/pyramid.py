"""The macro structure that Meta-SpikeFormer brought: convolutional stages, then transformers."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import mul

from torch import nn

from mmspike.backbones.base import (
    Stage,
    StagedBackbone,
    check_per_stage,
    check_whole,
    named_arch,
    rising_rates,
)
from mmspike.layers import fold_rep_convs, spike_conv


class SpikePyramid(StagedBackbone):
    """Stages of blocks, each behind a convolution that changes width and resolution.

    The first convolution sees the image: 7x7, without a neuron. The others are 3x3. All have
    biases and norms.

    Args:
        embed_dims: Channels of the stages.
        depths: Numbers of their blocks.
        strides: Strides of their first convolutions.
        conv_block: Makes a block of a convolutional stage from its channels.
        transformer_block: Makes a block of a transformer stage from its channels and its rate of
            stochastic depth.
        conv_stages: How many stages are convolutional; the others are transformers.
        drop_path_rate: Stochastic depth of the last transformer block; it rises linearly from 0 at
            the first.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
        deploy: Build every :class:`~mmspike.layers.RepConv` as one convolution, for weights that
            :meth:`switch_to_deploy` has changed.
        in_channels, timesteps, out_indices, readout, frozen_stages, norm_eval, with_cp, init_cfg:
            See :class:`~mmspike.backbones.base.StagedBackbone`.
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
        embed_dims: Sequence[int],
        depths: Sequence[int],
        strides: Sequence[int],
        *,
        conv_block: Callable[[int], nn.Module],
        transformer_block: Callable[[int, float], nn.Module],
        conv_stages: int,
        drop_path_rate: float,
        neuron_cfg: dict,
        norm_cfg: dict,
        deploy: bool = False,
        in_channels: int = 3,
        timesteps: int = 1,
        out_indices: tuple[int, ...] = (-1,),
        readout: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        rates = iter(rising_rates(drop_path_rate, sum(depths[conv_stages:])))

        def stages() -> Iterator[Stage]:
            width = in_channels
            for i, dims in enumerate(embed_dims):
                downsample = spike_conv(
                    width,
                    dims,
                    3 if i else 7,
                    stride=strides[i],
                    bias=True,
                    norm_cfg=norm_cfg,
                    neuron_cfg=neuron_cfg if i else None,
                )
                if i < conv_stages:
                    blocks = [conv_block(dims) for _ in range(depths[i])]
                else:
                    blocks = [transformer_block(dims, next(rates)) for _ in range(depths[i])]
                yield Stage(downsample, blocks)
                width = dims

        super().__init__(
            stages(),
            tuple(embed_dims),
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
        if deploy:
            self.switch_to_deploy()

    def switch_to_deploy(self) -> None:
        """Make one convolution of every :class:`~mmspike.layers.RepConv`, in place.

        mmpretrain's ``reparameterize_model.py`` calls this method.
        """
        fold_rep_convs(self)


def read_pyramid(arch: str | dict, archs: dict[str, dict]) -> dict:
    """Settings of an architecture, by name or as a dict, one number per stage where there are many.

    Raises:
        ValueError: The name is unknown, a key is missing, unknown or of the wrong length, or a
            number not acceptable.
    """
    arch = named_arch(arch, archs)
    stages = len(next(iter(archs.values()))['depths'])
    check_per_stage(arch, stages, 'embed_dims', 'depths')
    check_whole(arch, 'embed_dims', 'num_heads', 'stem_stride')
    check_whole(arch, 'depths', at_least=0)
    return arch
