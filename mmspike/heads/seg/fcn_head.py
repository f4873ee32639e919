"""Fully convolutional head on spikes."""

from mmseg.models.decode_heads import FCNHead

from mmspike.heads.seg.spiking import SpikingDecodeHead
from mmspike.registry import MODELS


@MODELS.register_module()
class SpikeFCNHead(SpikingDecodeHead, FCNHead):
    """mmseg's ``FCNHead`` with a neuron before each convolution, the classifier included.

    Args:
        **kwargs: See :class:`~mmspike.heads.seg.spiking.SpikingDecodeHead` and
            ``mmseg.models.FCNHead``.
    """
