"""Region proposals from spikes."""

from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import RPNHead
from torch import Tensor, nn

from mmspike.heads.det.dense_head import SpikingDenseHead
from mmspike.layers import TemporalMean, spike_conv
from mmspike.registry import MODELS


@MODELS.register_module()
class SpikeRPNHead(SpikingDenseHead, RPNHead):
    """mmdet's ``RPNHead`` with neurons before its convolutions, read out as the mean over time.

    Maps ``(T*B, C, H, W)`` give scores ``(B, A, H, W)`` and box deltas ``(B, 4*A, H, W)``.

    Args:
        **kwargs: See :class:`~mmspike.heads.det.dense_head.SpikingDenseHead` and
            ``mmdet.models.RPNHead``.
    """

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
