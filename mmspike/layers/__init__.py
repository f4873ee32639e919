"""Building blocks that several spiking networks share."""

from mmspike.layers.attention import SpikeAttention, attention_product
from mmspike.layers.conv import SpikeConvBlock, SpikeSepConv, spike_conv
from mmspike.layers.drop_path import DropPath
from mmspike.layers.mlp import SpikeMLP
from mmspike.layers.readout import TemporalMean
from mmspike.layers.recompute import recompute

__all__ = [
    'DropPath',
    'SpikeAttention',
    'SpikeConvBlock',
    'SpikeMLP',
    'SpikeSepConv',
    'TemporalMean',
    'attention_product',
    'recompute',
    'spike_conv',
]
