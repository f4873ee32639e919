"""The toy, which fires where its input reaches the threshold."""

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out
from mmspike.neurons.kernels.ops.checks import check_input, check_tensor
from mmspike.neurons.kernels.ops.common import (
    differentiate,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    run,
    runner,
)


@operator('toy', '(Tensor x, float threshold) -> Tensor')
def toy(x: Tensor, threshold: float) -> Tensor:
    """Spikes (...)."""
    check_input('toy', x)
    out = torch.empty_like(x)
    if x.numel():
        runner(x).toy_forward(laid_out(x, out.stride()), out, threshold)
    return out


@toy.register_fake
def _(x, threshold):
    return torch.empty_like(x)


@operator('toy_backward', '(Tensor x, Tensor grad_out, float threshold) -> Tensor')
def toy_backward(x: Tensor, grad_out: Tensor, threshold: float) -> Tensor:
    """Gradient of x (...)."""
    check_input('toy_backward', x)
    check_tensor('toy_backward', 'grad_out', grad_out, x.shape, x.dtype, x.device)
    grad_x = torch.empty_like(x)
    if x.numel():
        x, grad_out = (laid_out(t, grad_x.stride()) for t in (x, grad_out))
        runner(x).toy_backward(x, grad_out, grad_x, threshold)
    return grad_x


@toy_backward.register_fake
def _(x, grad_out, threshold):
    return torch.empty_like(x)


differentiate(toy_backward, refuse_double_backward, no_context)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    x, ctx.threshold = inputs
    ctx.save_for_backward(x)


def _grads(ctx, grad_out: Tensor) -> tuple:
    (x,) = ctx.saved_tensors
    return run(toy_backward, x, grad_out, ctx.threshold), None


differentiate(toy, _grads, _keep)
toy.register_vmap(refuse_vmap)
toy_backward.register_vmap(refuse_vmap)
