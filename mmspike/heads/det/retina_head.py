"""RetinaNet's head on spikes."""

from mmdet.models.dense_heads import RetinaHead
from torch import Tensor

from mmspike.heads.det.dense_head import SpikingDenseHead
from mmspike.layers import TemporalMean, use_preactivation_neurons
from mmspike.registry import MODELS


@MODELS.register_module()
class SpikeRetinaHead(SpikingDenseHead, RetinaHead):
    """mmdet's ``RetinaHead`` with neurons before its convolutions, read out as the mean over time.

    Maps ``(T*B, C, H, W)`` give scores ``(B, A*K, H, W)`` and box deltas ``(B, 4*A, H, W)``. The
    reference keeps the ReLU behind every convolution (BICLab/Spike-Driven-Transformer-V3,
    ``SDT_V3/Detection``); here the next neuron sees the membrane as it is. To the integer neuron,
    which clamps at 0, that is the same.

    Args:
        **kwargs: See :class:`~mmspike.heads.det.dense_head.SpikingDenseHead` and
            ``mmdet.models.RetinaHead``.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        use_preactivation_neurons(self, self.neuron_cfg)
        self.cls_neuron = MODELS.build(self.neuron_cfg)
        self.reg_neuron = MODELS.build(self.neuron_cfg)
        self.readout = TemporalMean()

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cls_feat = reg_feat = x
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls_feat, reg_feat = cls_conv(cls_feat), reg_conv(reg_feat)
        cls_score = self.retina_cls(self.cls_neuron(cls_feat))
        bbox_pred = self.retina_reg(self.reg_neuron(reg_feat))
        return self.readout(cls_score), self.readout(bbox_pred)
