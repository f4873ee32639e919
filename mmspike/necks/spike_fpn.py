"""Feature pyramid on spikes, for detection and segmentation.

With ``norm_cfg=None`` it is the ``SpikeFPN`` of SDT v3's detectors, with batch norms the ``QFPN``
of its segmentors (BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Detection`` and
``SDT_V3/Segmentation``).
"""

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmspike.layers import TemporalMean, spike_conv
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, set_timesteps

EXTRA_SOURCES = ('on_input', 'on_lateral', 'on_output')


@MODELS.register_module()
class SpikeFPN(TemporalModule, BaseModule):
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
        timesteps: Number of time steps T.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms after the convolutions; None for none.
        upsample_cfg: How the coarser level grows to the size of the finer, see
            :func:`torch.nn.functional.interpolate`.
        readout: Return the mean over time ``(B, C, H, W)``, for stock heads.
        init_cfg: Initialisation config.

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
        timesteps: int = 1,
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
        used = range(start_level, end)
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
        self.upsample_cfg = dict(upsample_cfg)

        # Biases also in front of a norm: published weights have them.
        cfgs = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg, bias=True)
        self.lateral_convs = nn.ModuleList(
            spike_conv(in_channels[i], out_channels, **cfgs) for i in used
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
        set_timesteps(self, timesteps)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps ``(T*B, C_i, H_i, W_i)``, fine to coarse, to ``num_outs`` of ``out_channels``.

        Raises:
            ValueError: There are more or fewer inputs than ``in_channels`` says.
        """
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'the neck was built for {len(self.in_channels)} inputs '
                f'(in_channels={self.in_channels}), got {len(inputs)}'
            )
        laterals = [conv(inputs[i]) for i, conv in zip(self.used, self.lateral_convs, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            size = laterals[i - 1].shape[-2:]
            laterals[i - 1] = laterals[i - 1] + functional.interpolate(
                laterals[i], size=size, **self.upsample_cfg
            )
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False)]
        source = {
            'on_input': inputs[self.used[-1]], 'on_lateral': laterals[-1], 'on_output': outs[-1]
        }.get(self.add_extra_convs)  # fmt: skip
        for i in range(len(laterals), self.num_outs):
            if source is None:
                outs.append(functional.max_pool2d(outs[-1], 1, stride=2))
            else:
                outs.append(self.fpn_convs[i](source))
                source = outs[-1]
        return tuple(self.readout(out) for out in outs)
