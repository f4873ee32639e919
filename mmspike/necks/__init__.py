"""Necks between a spiking backbone and the heads of mmdet or mmseg."""

from mmspike.necks.spike_fpn import SpikeFPN

__all__ = ['SpikeFPN']
