"""Building blocks that several spiking networks share."""

from mmspike.versions import check_version

check_version('mmcv')

from mmspike.layers.attention import SpikeAttention, attention_product  # noqa: E402
from mmspike.layers.conv import (  # noqa: E402
    SpikeConvBlock,
    SpikeSepConv,
    spike_conv,
    use_preactivation_neurons,
)
from mmspike.layers.depthwise_gradient import DepthwiseConv2d  # noqa: E402
from mmspike.layers.drop_path import DropPath  # noqa: E402
from mmspike.layers.mlp import SpikeMLP  # noqa: E402
from mmspike.layers.neuron_init import NeuronInit, neuron_gain  # noqa: E402
from mmspike.layers.readout import TemporalMean  # noqa: E402
from mmspike.layers.recompute import recompute  # noqa: E402
from mmspike.layers.rep_conv import RepConv, fold_rep_convs  # noqa: E402
from mmspike.layers.sdsa import SpikeDrivenSelfAttention  # noqa: E402
from mmspike.layers.transformer_block import SpikeTransformerBlock  # noqa: E402
from mmspike.layers.visible_norm import VisibleBN, VisibleSyncBN, only_visible  # noqa: E402
from mmspike.layers.window_attention import SpikeWindowAttention  # noqa: E402
from mmspike.moved import moved_names  # noqa: E402

__all__ = [
    'DepthwiseConv2d',
    'DropPath',
    'NeuronInit',
    'RepConv',
    'SpikeAttention',
    'SpikeConvBlock',
    'SpikeDrivenSelfAttention',
    'SpikeMLP',
    'SpikeSepConv',
    'SpikeTransformerBlock',
    'SpikeWindowAttention',
    'TemporalMean',
    'VisibleBN',
    'VisibleSyncBN',
    'attention_product',
    'fold_rep_convs',
    'neuron_gain',
    'only_visible',
    'recompute',
    'spike_conv',
    'use_preactivation_neurons',
]

__getattr__ = moved_names(__name__, {'put_neurons_first': 'layers:use_preactivation_neurons'})
