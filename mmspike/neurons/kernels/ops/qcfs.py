"""The quantised clip-floor-shift activation."""

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out_like
from mmspike.neurons.kernels.ops.common import (
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    runner,
    total,
)


@operator('qcfs')
def qcfs(x: Tensor, threshold: Tensor, levels: int) -> Tensor:
    """Multiples of ``threshold / levels`` (...); ``threshold`` is float32, 0-d."""
    out = torch.empty_like(x)
    if x.numel():
        runner(x).qcfs_forward(x, threshold, out, levels)
    return out


@qcfs.register_fake
def _(x, threshold, levels):
    return torch.empty_like(x)


@operator('qcfs_backward')
def qcfs_backward(
    x: Tensor, threshold: Tensor, grad_out: Tensor, levels: int
) -> tuple[Tensor, Tensor]:
    """Gradients of x (...) and of the threshold (0-d)."""
    grad_x, parts = torch.empty_like(x), None
    if x.numel():
        grad_out = laid_out_like(grad_out, x)
        parts = runner(x).qcfs_backward(x, threshold, grad_out, grad_x, levels)
    return grad_x, total(parts, x.device)


@qcfs_backward.register_fake
def _(x, threshold, grad_out, levels):
    return torch.empty_like(x), torch.empty((), dtype=torch.float32, device=x.device)


qcfs_backward.register_autograd(refuse_double_backward, setup_context=no_context)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    x, threshold, levels = inputs
    ctx.save_for_backward(x, threshold)
    ctx.levels = levels


def _grads(ctx, grad_out: Tensor) -> tuple:
    x, threshold = ctx.saved_tensors
    return *qcfs_backward(x, threshold, grad_out, ctx.levels), None


qcfs.register_autograd(_grads, setup_context=_keep)
qcfs.register_vmap(refuse_vmap)
qcfs_backward.register_vmap(refuse_vmap)
