"""Detection heads for mmdet's detectors.

Each inherits the head of mmdet and changes layers, RoI tiling and the read-out over time; anchors,
assigners, losses, coders and post-processing stay mmdet's.
"""

from mmspike.versions import check_version

check_version('mmdet')

from mmspike.heads.det.bbox_head import (  # noqa: E402
    SpikeConvFCBBoxHead,
    SpikeShared2FCBBoxHead,
    SpikeShared4Conv1FCBBoxHead,
)
from mmspike.heads.det.mask_head import SpikeFCNMaskHead  # noqa: E402
from mmspike.heads.det.retina_head import SpikeRetinaHead  # noqa: E402
from mmspike.heads.det.roi_head import (  # noqa: E402
    SpikeCascadeRoIHead,
    SpikeStandardRoIHead,
)
from mmspike.heads.det.rpn_head import SpikeRPNHead  # noqa: E402

__all__ = [
    'SpikeCascadeRoIHead',
    'SpikeConvFCBBoxHead',
    'SpikeFCNMaskHead',
    'SpikeRPNHead',
    'SpikeRetinaHead',
    'SpikeShared2FCBBoxHead',
    'SpikeShared4Conv1FCBBoxHead',
    'SpikeStandardRoIHead',
]
