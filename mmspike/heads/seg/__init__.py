"""Segmentation heads for mmseg's segmentors.

Each inherits the head of mmseg and changes layers and the read-out over time; losses, samplers and
resizing stay mmseg's.
"""

from mmspike.versions import check_version

check_version('mmseg')

from mmspike.heads.seg.fcn_head import SpikeFCNHead  # noqa: E402
from mmspike.heads.seg.fpn_head import SpikeFPNHead  # noqa: E402

__all__ = ['SpikeFCNHead', 'SpikeFPNHead']
