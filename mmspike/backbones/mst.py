"""MST: the Masked Spiking Transformer, a Swin transformer between spiking neurons.

Paper: "Masked Spiking Transformer" (ICCV 2023, arXiv 2210.01208).
Reference: bic-L/Masked-Spiking-Transformer, whose published weights :mod:`mmspike.converters.mst`
converts.

A network is trained with ReLU or with QCFS neurons, in one time step, and runs with
integrate-and-fire neurons over many. The three are one class with three ``neuron_cfg``: ``ReLU``,
``mmspike.QCFS`` and ``mmspike.SpikingQCFS``.

Differences from the reference; none has an effect at the sizes that its weights were trained for:

- images may have any size: they are padded to whole patches, maps to whole windows, and padding
  sees and is seen by nothing else;
- along each side on its own, windows shrink to a map that is smaller, and are not shifted there;
- with ``readout`` the last norm acts once, on the mean over time.

Random spike masking is no part of the network here.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule, Sequential
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from mmspike.backbones.base import (
    Stage,
    StagedBackbone,
    check_per_stage,
    check_whole,
    named_arch,
    rising_rates,
)
from mmspike.backbones.mst_patches import IMAGE_CHANNELS, PATCH_SIZE, PatchEmbedding, PatchMerging
from mmspike.layers import DropPath, SpikeWindowAttention, spike_conv
from mmspike.registry import MODELS

ARCHS: dict[str, dict] = {
    'tiny': dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=7),
}
MLP_RATIO = 4


class MSTBlock(BaseModule):
    """Norm, neuron and attention, then norm, neuron and MLP.

    The residual of the attention is its input. That of the MLP is the output of the second norm.

    Args:
        embed_dims: Channels.
        num_heads: Heads of the attention.
        window_size: Side of its windows, in tokens.
        shifted: Whether they are shifted.
        mlp_norm: Put norms into the MLP.
        drop_path_rate: Probability of dropping each of the two branches.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        *,
        window_size: int,
        shifted: bool,
        mlp_norm: bool,
        drop_path_rate: float,
        neuron_cfg: dict,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.neuron1 = MODELS.build(neuron_cfg)
        self.attn = SpikeWindowAttention(
            embed_dims, num_heads, window_size=window_size, shifted=shifted, neuron_cfg=neuron_cfg
        )
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.neuron2 = MODELS.build(neuron_cfg)

        def layer(in_channels: int, out_channels: int) -> ConvModule:
            return spike_conv(
                in_channels,
                out_channels,
                bias=True,
                norm_cfg=norm_cfg if mlp_norm else None,
                neuron_cfg=neuron_cfg,
                order=('conv', 'norm', 'act'),
            )

        hidden = MLP_RATIO * embed_dims
        self.mlp = Sequential(
            OrderedDict(fc1=layer(embed_dims, hidden), fc2=layer(hidden, embed_dims))
        )
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        x = x + self.drop_path(self.attn(self.neuron1(self.norm1(x))))
        x = self.norm2(x)
        return x + self.drop_path(self.mlp(self.neuron2(x)))


@MODELS.register_module()
class MST(StagedBackbone):
    """Masked Spiking Transformer: a Swin transformer with a neuron after every layer.

    The outputs are real numbers: sums of the outputs of neurons; the last stage's is normalised per
    token. ``out_channels`` and ``out_strides`` list channels and strides of the outputs; the four
    stages have strides 4, 8, 16, 32. A stock ``GlobalAveragePooling`` and linear head make the
    published classifier of it.

    Args:
        arch: ``'tiny'`` (28.3M parameters with a 1000-class head), or a dict with ``embed_dims``
            of the first stage (it doubles from stage to stage), and for each stage ``depths``,
            ``num_heads`` and ``window_size``; one number for all stages will do for the last.
        in_channels: Channels of the input.
        channel_align: Bring the input to 3 channels by a 1x1 convolution, so that frames of
            events, with 2 channels, can be taken by weights that were trained on images.
        mlp_norm: Put norms into the MLPs. The published weights have them for ImageNet; those for
            CIFAR-10 and CIFAR-100 do not.
        timesteps: Number of time steps T. Neurons that have no memory need one only.
        out_indices: Stages to return, from 0. Outputs, ``out_channels`` and ``out_strides`` are in
            the order of the stages.
        neuron_cfg: Config of the neurons: ``dict(type='ReLU')``, ``dict(type='mmspike.QCFS')`` to
            train, ``dict(type='mmspike.SpikingQCFS')`` to run the trained network on spikes. The
            weights are the same, except for thresholds, which ReLU does not have.
        norm_cfg: Config of the norms.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        readout: Return the mean over time ``(B, C, H, W)`` instead of all steps, for stock heads.
            The last norm acts on the mean, which brings spikes closer to the network that was
            trained. Without, it acts at every step, as in the reference.
        frozen_stages: Freeze the stages up to and including this one; -1 freezes none.
        norm_eval: Keep the batch norms in evaluation mode while training.
        with_cp: Recompute the blocks' activations in backward to save memory.
        init_cfg: Initialisation config. None initialises as Swin: layers from a truncated normal
            distribution of width 0.02, without biases.

    Raises:
        ValueError: An option is not acceptable; the message names it.

    Example:
        >>> import torch
        >>> from mmspike.backbones import MST
        >>> net = MST('tiny', out_indices=(0, 1, 2, 3))
        >>> [tuple(f.shape) for f in net(torch.rand(1, 3, 70, 53))]
        [(1, 96, 18, 14), (1, 192, 9, 7), (1, 384, 5, 4), (1, 768, 3, 2)]
        >>> net.out_strides
        (4, 8, 16, 32)
    """

    # What the reference masks of its attention: not v.
    neuron_groups = dict(
        self_attention=tuple(f'stages.*.attn.{part}_neuron' for part in ('q', 'k', 'map')),
        mlp=('stages.*.mlp.*',),
    )

    def __init__(
        self,
        arch: str | dict = 'tiny',
        *,
        in_channels: int = IMAGE_CHANNELS,
        channel_align: bool = False,
        mlp_norm: bool = True,
        timesteps: int = 1,
        out_indices: tuple[int, ...] = (3,),
        neuron_cfg: dict = dict(type='mmspike.QCFS', levels=16, init_threshold=2.0),
        norm_cfg: dict = dict(type='BN'),
        drop_path_rate: float = 0.0,
        readout: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        arch = read_arch(arch)
        depths = arch['depths']
        widths = tuple(arch['embed_dims'] << i for i in range(len(depths)))
        cfgs = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)

        def stages() -> Iterator[Stage]:
            rates = iter(rising_rates(drop_path_rate, sum(depths)))
            for i, width in enumerate(widths):
                if i:
                    downsample = PatchMerging(widths[i - 1], **cfgs)
                else:
                    downsample = PatchEmbedding(
                        in_channels, width, channel_align=channel_align, **cfgs
                    )
                blocks = [
                    MSTBlock(
                        width,
                        arch['num_heads'][i],
                        window_size=arch['window_size'][i],
                        shifted=bool(j % 2),
                        mlp_norm=mlp_norm,
                        drop_path_rate=next(rates),
                        **cfgs,
                    )
                    for j in range(depths[i])
                ]
                yield Stage(downsample, blocks)

        super().__init__(
            stages(),
            widths,
            tuple(PATCH_SIZE << i for i in range(len(depths))),
            in_channels=in_channels,
            timesteps=timesteps,
            out_indices=out_indices,
            readout=readout,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
        ends = self.out_indices[-1] == len(depths) - 1
        self.norm = nn.LayerNorm(widths[-1]) if ends else None
        # They see the image, and sums of several neurons' outputs (see mmspike.execution).
        self.analog_layers = (
            *(['stages.0.downsample.align'] if channel_align else []),
            'stages.0.downsample.projection.conv',
            *(f'stages.{i}.downsample.conv' for i in range(1, len(self.stages))),
        )

    def encode(self, x: Tensor) -> Tensor:
        """The input as it is: the first stage repeats an image when it has embedded it."""
        if x.dim() not in (4, 5):
            raise ValueError(
                'the input must be images (B, C, H, W) or frames (B, T, C, H, W), '
                f'got shape {tuple(x.shape)}'
            )
        self.check_input(x)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of ``out_indices``, see the base class."""
        outs = super().forward(x)
        if self.norm is None:
            return outs
        last = self.norm(outs[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return (*outs[:-1], last)

    def init_weights(self) -> None:
        """Initialise: from ``init_cfg`` if there is one, else as Swin does.

        Raises:
            NeuronMismatchError: A pretrained checkpoint was made with other neurons.
        """
        first_time = not self.is_init
        super().init_weights()
        if first_time and self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                    trunc_normal_(module.weight, std=0.02)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)


def read_arch(arch: str | dict) -> dict:
    """Return the settings of an architecture given by name or as a dict.

    Raises:
        ValueError: The name is unknown, a key is missing, unknown or of the wrong length, or a
            number not acceptable.
    """
    arch = dict(named_arch(arch, ARCHS))
    depths, windows = arch['depths'], arch['window_size']
    if not isinstance(depths, Sequence):
        raise ValueError(f'depths of an arch needs one number for each stage, got {depths!r}')
    count = len(depths)
    if isinstance(windows, int):
        arch['window_size'] = (windows,) * count
    check_per_stage(arch, count, 'num_heads', 'window_size')
    check_whole(arch, *arch)
    return arch
