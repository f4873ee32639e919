"""What the spiking segmentation heads share."""

from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from mmspike.layers import TemporalMean, put_neurons_first
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, set_timesteps


class SpikingDecodeHead(TemporalModule, BaseDecodeHead):
    """Mixin in front of a decode head of mmseg: a neuron before each convolution.

    Maps ``(T*B, C, H, W)`` give logits ``(B, K, H, W)``, the mean over time.

    Args:
        timesteps: Number of time steps T, the same as the backbone's.
        neuron_cfg: Config of the neurons.
        dropout_ratio: Rate of dropped channels before the last convolution; the reference has none.
        **kwargs: See the parent head.
    """

    def __init__(
        self,
        *args: Any,
        timesteps: int = 1,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4),
        dropout_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, dropout_ratio=dropout_ratio, **kwargs)
        put_neurons_first(self, neuron_cfg)
        self.neuron = MODELS.build(neuron_cfg)
        self.readout = TemporalMean()
        set_timesteps(self, timesteps)

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Logits ``(B, K, H, W)`` of features ``(T*B, C, H, W)``."""
        return self.readout(super().cls_seg(self.neuron(feat)))
