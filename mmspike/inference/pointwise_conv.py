"""Pointwise convolutions through oneDNN, also on one thread."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmspike.neurons.kernels.dispatcher import is_plain, unobserved

# Absent from a torch without oneDNN.
_convolution: Callable | None = (
    getattr(torch, 'mkldnn_convolution', None) if torch.backends.mkldnn.is_available() else None
)


class PointwiseConv2d(nn.Conv2d):
    """``Conv2d`` with a kernel of 1x1, ``(N, C, H, W)`` to ``(N, C', H, W)``.

    On one thread torch computes it by a matrix product, whose output it fills with the bias first.
    In plain inference on a CPU in float32, this class calls oneDNN instead, as torch does on
    several threads. Everywhere else it is ``Conv2d``.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            _convolution is not None
            and not torch.is_grad_enabled()
            and unobserved()
            and is_plain(input)
            and is_plain(weight)
            and input.device.type == 'cpu'
            and input.dtype == weight.dtype == torch.float32
            and input.dim() == 4
            and input.numel()
        ):
            sizes = (self.padding, self.stride, self.dilation)
            return _convolution(input, weight, bias, *sizes, self.groups)
        return super()._conv_forward(input, weight, bias)


def use_pointwise_convs(model: nn.Module) -> None:
    """Make a :class:`PointwiseConv2d` of every 1x1 convolution of a model, in place."""
    for module in model.modules():
        if (
            type(module) is nn.Conv2d
            and module.kernel_size == (1, 1)
            and module.padding == (0, 0)
            and module.padding_mode == 'zeros'
        ):
            module.__class__ = PointwiseConv2d
