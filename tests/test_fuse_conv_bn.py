"""mmcv's fusion of norms into convolutions, on every part of a model."""

import copy

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn

from support.small_parts import PARTS, outputs


@pytest.mark.parametrize('part', PARTS, ids=lambda part: part.name)
def test_a_fused_part_puts_out_the_same(part):
    # Doubles, so that rounding moves no membrane over a threshold.
    module = part.make(timesteps=2).double().eval()
    x = part.input(4)
    x = tuple(level.double() for level in x) if part.tuple_input else x.double()
    fused = fuse_conv_bn(copy.deepcopy(module))
    with torch.no_grad():
        for own, expected in zip(outputs(fused, x), outputs(module, x), strict=True):
            assert expected.abs().sum() > 0
            torch.testing.assert_close(own, expected)


def test_norms_before_a_convolution_stay():
    part = next(part for part in PARTS if part.name == 'MST')
    fused = fuse_conv_bn(part.make().eval())
    norms = [name for name, module in fused.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert [name for name in norms if 'downsample' in name] == [
        f'stages.{i}.downsample.bn' for i in (1, 2, 3)
    ]


def test_parameters_keep_the_order_by_which_optimisers_resume():
    part = next(part for part in PARTS if part.name == 'MST')
    downsample = part.make().stages[1].downsample
    names = [name for name, _ in downsample.named_parameters()]
    assert names[:3] == ['conv.weight', 'bn.weight', 'bn.bias']
