"""Depthwise convolutions have the gradients of torch's, whoever computes them."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from mmspike.layers import SpikeSepConv, depthwise_gradient
from mmspike.layers.depthwise_gradient import DepthwiseConv2d, depthwise_conv, weight_gradient
from mmspike.neurons.kernels import cpu
from support.threads import at_the_same_time

BUILT = pytest.mark.skipif(not depthwise_gradient.AVAILABLE, reason=cpu.HOW_TO_BUILD)


@pytest.fixture
def kernel_calls(monkeypatch):
    """Kernel sizes that the kernel is called with."""
    calls = []

    def watched(x, grad, kernel_size):
        calls.append(kernel_size)
        return weight_gradient(x, grad, kernel_size)

    monkeypatch.setattr(depthwise_gradient, 'weight_gradient', watched)
    return calls


def expected_gradients(x, weight, bias, grad):
    """In float64, by torch."""
    leaves = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    size = weight.shape[-1]
    out = conv2d(*leaves, padding=size // 2, groups=len(weight))
    return torch.autograd.grad(out, leaves, grad.double())


@BUILT
@given(
    st.sampled_from([5, 7]), st.integers(1, 3), st.integers(1, 40), st.integers(1, 12),
    st.integers(1, 12), st.booleans(),
)  # fmt: skip
@settings(deadline=None)
def test_gradients(size, images, channels, height, width, last):
    x, grad = torch.randn(2, images, channels, height, width)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    leaves = [x, torch.randn(channels, 1, size, size), torch.randn(channels)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    found = torch.autograd.grad(depthwise_conv(*leaves), leaves, grad)
    for own, expected in zip(found, expected_gradients(*leaves, grad), strict=True):
        torch.testing.assert_close(own.double(), expected, rtol=1e-4, atol=1e-4)


@BUILT
def test_several_threads_share_the_rows(kernel_calls):
    x = torch.randn(3, 20, 37, 41, requires_grad=True)
    weight, bias = torch.randn(20, 1, 7, 7, requires_grad=True), torch.zeros(20)
    grad = torch.randn_like(x)
    before = torch.get_num_threads()

    def run():
        return torch.autograd.grad(depthwise_conv(x, weight, bias), [x, weight], grad)

    try:
        torch.set_num_threads(3)
        found = [run(), *at_the_same_time(run, run)]
    finally:
        torch.set_num_threads(before)
    expected = expected_gradients(x, weight, bias, grad)
    for gradients in found:
        for own, correct in zip(gradients, expected, strict=False):
            torch.testing.assert_close(own.double(), correct, rtol=1e-4, atol=1e-3)
    assert kernel_calls == [7, 7, 7]


@BUILT
def test_the_layer_calls_the_kernel_in_training_only(kernel_calls):
    block = SpikeSepConv(
        4, 7, neuron_cfg=dict(type='mmspike.SFA'), norm_cfg=dict(type='BN')
    )  # fmt: skip
    x = torch.randn(2, 4, 9, 9)
    for net in (block, copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        net(x).sum().backward()
        assert net.depthwise.conv.weight.grad.any()
    assert kernel_calls == [7, 7, 7]
    assert block.depthwise.conv.weight is not net.depthwise.conv.weight
    with FlopCounterMode(display=False) as counter:
        block(x).sum().backward()
    assert counter.get_flop_counts()['Global'][torch.ops.aten.convolution_backward]
    with torch.autocast('cpu', torch.bfloat16):
        block(x).float().sum().backward()
    block.double()(x.double()).sum().backward()
    assert kernel_calls == [7, 7, 7]


def test_second_derivatives():
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    x32, weight32 = (t.detach().float().requires_grad_() for t in (x, weight))

    def second(x, weight):
        grads = torch.autograd.grad(
            depthwise_conv(x, weight, None).square().sum(), [x, weight], create_graph=True
        )
        return torch.autograd.grad(sum(grad.sum() for grad in grads), [x, weight])

    for own, expected in zip(second(x32, weight32), second(x, weight), strict=True):
        torch.testing.assert_close(own.double(), expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ('sizes', 'options'),
    [
        ((4, 4, 3), dict(padding=1, groups=4)),
        ((4, 4, 7), dict(padding=3)),
        ((4, 8, 7), dict(padding=3, groups=4)),
        ((4, 4, 7), dict(padding=2, groups=4)),
        ((4, 4, 7), dict(padding=3, stride=2, groups=4)),
        ((4, 4, 5), dict(padding=2, dilation=2, groups=4)),
        ((4, 4, 7), dict(padding=3, groups=4, padding_mode='reflect')),
    ],
)
def test_other_shapes_are_those_of_torch(sizes, options, kernel_calls):
    own, theirs = DepthwiseConv2d(*sizes, **options), nn.Conv2d(*sizes, **options)
    own.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 11, 12)
    assert torch.equal(own(x), theirs(x))
    own(x).sum().backward()
    theirs(x).sum().backward()
    assert torch.equal(own.weight.grad, theirs.weight.grad)
    assert not kernel_calls
