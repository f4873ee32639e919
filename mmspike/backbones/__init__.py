"""Spiking backbones."""

from mmspike.backbones.meta_spikformer import MetaSpikformer

__all__ = ['MetaSpikformer']
