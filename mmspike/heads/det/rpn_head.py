"""Region proposals from spikes."""

from typing import Any

from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import RPNHead
from torch import Tensor, nn

from mmspike.layers import TemporalMean, spike_conv
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, set_timesteps


@MODELS.register_module()
class SpikeRPNHead(TemporalModule, RPNHead):
    """mmdet's ``RPNHead`` with neurons before its convolutions, read out as the mean over time.

    Maps ``(T*B, C, H, W)`` give scores ``(B, A, H, W)`` and box deltas ``(B, 4*A, H, W)``.

    Args:
        timesteps: Number of time steps T, the same as the backbone's.
        neuron_cfg: Config of the neurons.
        **kwargs: See ``mmdet.models.RPNHead``.
    """

    def __init__(
        self,
        *args: Any,
        timesteps: int = 1,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4, norm=1),
        **kwargs: Any,
    ) -> None:
        self.neuron_cfg = neuron_cfg  # needed while the parent builds its layers
        super().__init__(*args, **kwargs)
        set_timesteps(self, timesteps)

    def _init_layers(self) -> None:
        super()._init_layers()

        def conv(in_channels: int) -> ConvModule:
            return spike_conv(
                in_channels, self.feat_channels, 3, neuron_cfg=self.neuron_cfg, norm_cfg=None
            )

        widths = [self.in_channels, *[self.feat_channels] * (self.num_convs - 1)]
        self.rpn_conv = nn.Sequential(*map(conv, widths))
        # Both predictors read the same spikes.
        self.neuron = MODELS.build(self.neuron_cfg)
        self.readout = TemporalMean()

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spikes = self.neuron(self.rpn_conv(x))
        return self.readout(self.rpn_cls(spikes)), self.readout(self.rpn_reg(spikes))
