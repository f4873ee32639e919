"""Semantic FPN's head on spikes."""

from mmseg.models.decode_heads import FPNHead

from mmspike.heads.seg.spiking import SpikingDecodeHead
from mmspike.registry import MODELS


@MODELS.register_module()
class SpikeFPNHead(SpikingDecodeHead, FPNHead):
    """mmseg's ``FPNHead`` with a neuron before each convolution, the classifier included.

    It is the ``QFPNHead`` of SDT v3 (BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Segmentation``),
    and its ``FPNHead_SNN`` with LIF neurons.

    Args:
        feature_strides: Strides of the inputs, fine to coarse; their ratios count.
        **kwargs: See :class:`~mmspike.heads.seg.spiking.SpikingDecodeHead` and
            ``mmseg.models.FPNHead``.
    """
