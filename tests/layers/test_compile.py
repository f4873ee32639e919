"""Layers under torch.compile: every batch and image size."""

import copy

import pytest
import torch
from torch import nn

from mmspike.layers import (
    DropPath,
    SpikeAttention,
    SpikeConvBlock,
    SpikeDrivenSelfAttention,
    SpikeMLP,
    SpikeSepConv,
    SpikeWindowAttention,
    TemporalMean,
    recompute,
)
from mmspike.temporal import set_timesteps

NORM = dict(norm_cfg=dict(type='BN'))
SFA, LIF, QCFS = (dict(neuron_cfg=dict(type=f'mmspike.{name}')) for name in ('SFA', 'LIF', 'QCFS'))
LAYERS = {
    'conv': lambda: SpikeConvBlock(4, kernel_size=3, expansion=2, **SFA, **NORM),
    'sep_conv': lambda: SpikeSepConv(4, 3, **LIF, **NORM),
    'mlp': lambda: SpikeMLP(4, **SFA, **NORM),
    'attention': lambda: SpikeAttention(4, 2, **SFA, **NORM),
    'sdsa': lambda: SpikeDrivenSelfAttention(4, **LIF, **NORM, num_heads=2),
    'sdsa_pooled': lambda: SpikeDrivenSelfAttention(
        4, **LIF, **NORM, dvs_pool=True, legacy_dvs_pool=True, num_heads=2
    ),
    'windows': lambda: SpikeWindowAttention(4, 2, window_size=3, shifted=False, **QCFS),
    'shifted_windows': lambda: SpikeWindowAttention(4, 2, window_size=3, shifted=True, **QCFS),
    'drop_path': lambda: DropPath(0.5),
    'mean': TemporalMean,
}
# Batch, height and width change. (T*B, C, H, W) with T=2; maps are larger than a window.
SIZES = [(4, 4, 8, 7), (6, 4, 8, 10), (10, 4, 10, 5)]


pytestmark = pytest.mark.usefixtures('compiled_anew')


@pytest.mark.slow
@pytest.mark.parametrize('name', LAYERS)
def test_compiles_for_all_sizes(name):
    # A convolution before and after: in a network, a layer never gets the input itself.
    net = nn.Sequential(nn.Conv2d(4, 4, 1), LAYERS[name](), nn.Conv2d(4, 4, 1)).eval()
    if name == 'drop_path':
        net.train()
    set_timesteps(net, 2)
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend='aot_eager')
    for size in SIZES:
        x = torch.randn(size)
        grads, outs = [], []
        for run in (compiled, net):
            torch.manual_seed(0)
            leaf = x.clone().requires_grad_()
            out = run(leaf)
            out.square().sum().backward()
            outs.append(out.detach())
            grads.append(leaf.grad)
        torch.testing.assert_close(*outs)
        torch.testing.assert_close(*grads)


@pytest.mark.slow
def test_recomputation_moves_statistics_once():
    class Recomputed(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, x):
            return recompute(self.block, x)

    plain = SpikeMLP(4, **SFA, **NORM).train()
    net = Recomputed(copy.deepcopy(plain))
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend='aot_eager')
    for size in [(4, 4, 5, 6), (6, 4, 7, 6)]:
        leaves = [torch.randn(size, requires_grad=True)]
        leaves.append(leaves[0].detach().clone().requires_grad_())
        for run, leaf in zip((compiled, plain), leaves, strict=True):
            run(leaf).square().sum().backward()
        torch.testing.assert_close(leaves[0].grad, leaves[1].grad)
    for ours, expected in zip(net.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, expected)
