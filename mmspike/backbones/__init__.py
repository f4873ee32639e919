"""Spiking backbones."""

from mmspike.backbones.meta_spikformer import MetaSpikformer
from mmspike.backbones.mst import MST
from mmspike.backbones.sdt import SDT
from mmspike.backbones.sdt_v2 import SDTV2
from mmspike.backbones.sdt_v3_large import SDTV3Large

__all__ = [
    'MST',
    'SDT',
    'SDTV2',
    'MetaSpikformer',
    'SDTV3Large',
]
