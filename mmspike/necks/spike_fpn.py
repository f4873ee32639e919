"""Feature pyramid on spikes, for detection and segmentation.

With ``norm_cfg=None`` it is the ``SpikeFPN`` of SDT v3's detectors, with batch norms the ``QFPN``
of its segmentors (BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Detection`` and
``SDT_V3/Segmentation``).
"""

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmspike.layers import NeuronInit, TemporalMean, spike_conv
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, init_timesteps

EXTRA_SOURCES = ('on_input', 'on_lateral', 'on_output')


@MODELS.register_module()
class SpikeFPN(NeuronInit, TemporalModule, BaseModule):
    """Feature pyramid network with a neuron before each lateral and output convolution.

    Membranes are added along the top-down path; convolutions see spikes. Arguments and levels are
    those of mmdet's ``FPN``.

    Args:
        in_channels: Channels of the inputs.
        out_channels: Channels of all outputs.
        num_outs: Number of outputs; those beyond the inputs are made by ``add_extra_convs``.
        start_level: First input that is used.
        end_level: Last input that is used; -1 for the last there is. With another, no extra levels
            are made.
        add_extra_convs: ``False`` takes every second pixel of the last output; ``'on_input'``,
            ``'on_lateral'`` or ``'on_output'`` convolve that source with stride 2 (``True`` is
            ``'on_input'``), and then level after level.
        relu_before_extra_convs: Apply a ReLU to each extra level before it makes the next one.
            Neurons that ignore negative membranes, such as SFA, make no difference of it.
        no_norm_on_lateral: Leave the norms out of the lateral convolutions.
        timesteps: Number of time steps T; None for one step behind a backbone's ``readout``.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms after the convolutions; None for none.
        upsample_cfg: How the coarser level grows to the size of the finer: arguments of
            :func:`torch.nn.functional.interpolate`. With ``scale_factor`` the level grows by that
            factor, which has to lead to the size of the finer level.
        readout: Return the mean over time ``(B, C, H, W)``, for stock heads.
        init_cfg: Initialisation config; convolutions behind binary neurons and without a norm take
            :class:`~mmspike.layers.NeuronInit`.

    Raises:
        ValueError: Levels or ``add_extra_convs`` are not acceptable.
    """

    def __init__(
        self,
        in_channels: list[int],
        out_channels: int,
        num_outs: int,
        *,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        timesteps: int | None = 1,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4, norm=1),
        norm_cfg: dict | None = None,
        upsample_cfg: dict = dict(mode='nearest'),
        readout: bool = False,
        init_cfg: dict | None = dict(type='Xavier', layer='Conv2d', distribution='uniform'),
    ) -> None:
        super().__init__(init_cfg)
        in_channels = list(in_channels)
        end = len(in_channels) if end_level == -1 else end_level + 1
        if not 0 <= start_level < end <= len(in_channels):
            raise ValueError(
                f'start_level={start_level} and end_level={end_level} do not choose any of '
                f'{len(in_channels)} inputs'
            )
        used = tuple(range(start_level, end))  # torch 2.6 does not compile zip of a range
        extra = num_outs - len(used)
        if extra < 0 or (extra and end < len(in_channels)):
            raise ValueError(
                f'num_outs={num_outs} does not fit {len(used)} used inputs of {len(in_channels)}: '
                'it is their number, or more if the last input is used'
            )
        if add_extra_convs is True:
            add_extra_convs = 'on_input'
        if add_extra_convs and add_extra_convs not in EXTRA_SOURCES:
            raise ValueError(
                f'add_extra_convs must be a bool or one of {EXTRA_SOURCES}, got {add_extra_convs!r}'
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_outs = num_outs
        self.used = used
        self.add_extra_convs = add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg)

        # Biases also in front of a norm: published weights have them.
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg, bias=True)
        lateral_cfgs: dict[str, Any] = dict(cfgs, norm_cfg=None) if no_norm_on_lateral else cfgs
        self.lateral_convs = nn.ModuleList(
            spike_conv(in_channels[i], out_channels, **lateral_cfgs) for i in used
        )
        self.fpn_convs = nn.ModuleList(
            spike_conv(out_channels, out_channels, 3, **cfgs) for _ in used
        )
        if add_extra_convs:
            source = in_channels[end - 1] if add_extra_convs == 'on_input' else out_channels
            for i in range(extra):
                channels = out_channels if i else source
                self.fpn_convs.append(spike_conv(channels, out_channels, 3, stride=2, **cfgs))
        self.readout = TemporalMean() if readout else nn.Identity()
        init_timesteps(self, timesteps)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps ``(T*B, C_i, H_i, W_i)``, fine to coarse, to ``num_outs`` of ``out_channels``.

        Raises:
            ValueError: There are more or fewer inputs than ``in_channels`` says, or the sizes of
                two levels do not differ by the ``scale_factor`` of ``upsample_cfg``.
        """
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'the neck was built for {len(self.in_channels)} inputs '
                f'(in_channels={self.in_channels}), got {len(inputs)}'
            )
        laterals = [conv(inputs[i]) for i, conv in zip(self.used, self.lateral_convs, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + self._upsample(laterals[i], laterals[i - 1])
        outs = [self.fpn_convs[i](x) for i, x in enumerate(laterals)]
        sources: dict[str | bool, Tensor] = {
            'on_input': inputs[self.used[-1]], 'on_lateral': laterals[-1], 'on_output': outs[-1]
        }  # fmt: skip
        source = sources.get(self.add_extra_convs)
        for i in range(len(laterals), self.num_outs):
            if source is None:
                outs.append(functional.max_pool2d(outs[-1], 1, stride=2))
            else:
                outs.append(self.fpn_convs[i](source))
                source = outs[-1].relu() if self.relu_before_extra_convs else outs[-1]
        return tuple(self.readout(out) for out in outs)

    def _upsample(self, x: Tensor, finer: Tensor) -> Tensor:
        """Enlarge a level to the size of the finer one."""
        if 'scale_factor' not in self.upsample_cfg:
            return functional.interpolate(x, size=finer.shape[-2:], **self.upsample_cfg)
        grown = functional.interpolate(x, **self.upsample_cfg)
        if grown.shape[-2:] != finer.shape[-2:]:
            raise ValueError(
                f'scale_factor={self.upsample_cfg["scale_factor"]} makes '
                f'{tuple(grown.shape[-2:])} of a level of size {tuple(x.shape[-2:])}, the finer '
                f'level has {tuple(finer.shape[-2:])}; leave scale_factor out of upsample_cfg to '
                'grow levels to any size'
            )
        return grown
