"""Depthwise convolutions whose weights get their gradient from a kernel of mmspike.

oneDNN takes ten times as long for the gradient of a 7x7 weight as for the convolution itself.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from mmspike.execution.spike_train import SpikeTrain, unmarked, without_flow
from mmspike.neurons.kernels.cpu_library import LIBRARY, counts, pointers, threads_for
from mmspike.neurons.kernels.dispatcher import is_plain, unobserved
from mmspike.registry import MODELS

# Kernels of 3x3 are fast in oneDNN.
KERNEL_SIZES = (5, 7)
SQUARES = [(size, size) for size in KERNEL_SIZES]
# A library that was built by an older version has no such function.
_gradient: Any = getattr(LIBRARY, 'mmspike_depthwise', None)
AVAILABLE = _gradient is not None


class DepthwiseArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *pointers('x', 'grad', 'sums'),
        *counts('images', 'height', 'width', 'channels', 'kernel', 'threads'),
    ]


@MODELS.register_module()
class DepthwiseConv2d(nn.Conv2d):
    """``Conv2d`` of a channel each, ``(N, C, H, W)``, whose 5x5 and 7x7 weights train faster.

    It runs as :func:`depthwise_conv` where it has one filter per channel, stride 1 and "same"
    padding with zeros, and as ``Conv2d`` otherwise.

    Args:
        *args, **kwargs: See ``torch.nn.Conv2d``.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        half = self.kernel_size[0] // 2
        if (
            self.groups == self.in_channels == self.out_channels
            and self.kernel_size in SQUARES
            and self.padding == (half, half)
            and self.stride == self.dilation == (1, 1)
            and self.padding_mode == 'zeros'
        ):
            return depthwise_conv(input, weight, bias)
        return super()._conv_forward(input, weight, bias)


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv2d`` of a channel each, with "same" padding, ``(N, C, H, W)`` to the same shape.

    Args:
        x: Input.
        weight: ``(C, 1, k, k)``, k odd.
        bias: ``(C,)`` or None.
    """
    if isinstance(x, SpikeTrain):
        # Who follows the spikes sees a convolution; the gradient is the same as without them.
        followed = _conv(x, weight, bias)
        with without_flow():
            x = unmarked(x)
            return _DepthwiseConv.apply(x, weight, bias) if _kernel_runs(x, weight) else followed
    if _kernel_runs(x, weight):
        return _DepthwiseConv.apply(x, weight, bias)
    return _conv(x, weight, bias)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # torch.jit traces sizes as tensors, which are no arguments of a convolution.
    padding, groups = int(weight.shape[-1]) // 2, int(weight.shape[0])
    return conv2d(x, weight, bias, padding=padding, groups=groups)


def _kernel_runs(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel computes a gradient, and nobody has to see the convolution itself."""
    return (
        unobserved()
        and AVAILABLE
        and torch.is_grad_enabled()
        and weight.requires_grad
        and is_plain(x)
        and is_plain(weight)
        and x.device.type == weight.device.type == 'cpu'
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and not torch._C._functorch.peek_interpreter_stack()
        and x.dim() == 4
        and x.numel() > 0
    )


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _conv(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        by_kernel = of_weight and not torch.is_grad_enabled()  # which has no derivative itself
        if by_kernel:
            # oneDNN as well is faster in this layout.
            x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
        grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad, x, weight, [len(weight)], [1, 1], [weight.shape[-1] // 2] * 2, [1, 1], False,
            [0, 0], len(weight), [of_x, of_weight and not by_kernel, of_bias],
        )  # fmt: skip
        if by_kernel:
            grad_weight = weight_gradient(x, grad, weight.shape[-1])
        return grad_x, grad_weight, grad_bias


def weight_gradient(x: Tensor, grad: Tensor, kernel_size: int) -> Tensor:
    """Gradient of the weight of :func:`depthwise_conv`.

    Args:
        x: Input ``(N, C, H, W)``, float32, channels_last, not empty.
        grad: Gradient of the output, of the same kind.
        kernel_size: One of :data:`KERNEL_SIZES`.

    Returns:
        ``(C, 1, k, k)``.
    """
    images, channels, height, width = x.shape
    threads = threads_for(x.numel())
    sums = x.new_empty(threads, kernel_size, kernel_size, channels)
    arguments = DepthwiseArguments(
        x=x.data_ptr(),
        grad=grad.data_ptr(),
        sums=sums.data_ptr(),
        images=images,
        height=height,
        width=width,
        channels=channels,
        kernel=kernel_size,
        threads=threads,
    )
    assert not _gradient(ctypes.byref(arguments))
    return sums.sum(0).permute(2, 0, 1).unsqueeze(1).contiguous()
