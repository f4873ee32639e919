"""Spiking backbones."""

from mmspike.backbones.meta_spikformer import MetaSpikformer
from mmspike.backbones.mst import MST
from mmspike.backbones.sdt import SDT

__all__ = ['MST', 'SDT', 'MetaSpikformer']
