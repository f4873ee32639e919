"""The quantised clip-floor-shift activation."""

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out
from mmspike.neurons.kernels.ops.checks import (
    check_input,
    check_largest,
    check_learned,
    check_tensor,
)
from mmspike.neurons.kernels.ops.common import (
    differentiate,
    new_total,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    run,
    runner,
    total,
)


def _check(op: str, x: Tensor, threshold: Tensor, levels: int) -> None:
    check_input(op, x)
    check_learned(op, 'threshold', threshold, x.device)
    check_largest(op, 'levels', levels)


@operator('qcfs', '(Tensor x, Tensor threshold, int levels) -> Tensor')
def qcfs(x: Tensor, threshold: Tensor, levels: int, *, out: Tensor | None = None) -> Tensor:
    """Multiples of ``threshold / levels`` (...); ``threshold`` is float32, one number."""
    _check('qcfs', x, threshold, levels)
    out = torch.empty_like(x) if out is None else out
    if x.numel():
        runner(x).qcfs_forward(laid_out(x, out.stride()), threshold, out, levels)
    return out


@qcfs.register_fake
def _(x, threshold, levels):
    return torch.empty_like(x)


@operator(
    'qcfs_backward',
    '(Tensor x, Tensor threshold, Tensor grad_out, int levels) -> (Tensor, Tensor)',
)
def qcfs_backward(
    x: Tensor, threshold: Tensor, grad_out: Tensor, levels: int
) -> tuple[Tensor, Tensor]:
    """Gradients of x (...) and of the threshold (in its shape)."""
    _check('qcfs_backward', x, threshold, levels)
    check_tensor('qcfs_backward', 'grad_out', grad_out, x.shape, x.dtype, x.device)
    grad_x, parts = torch.empty_like(x), None
    if x.numel():
        x, grad_out = (laid_out(t, grad_x.stride()) for t in (x, grad_out))
        parts = runner(x).qcfs_backward(x, threshold, grad_out, grad_x, levels)
    return grad_x, total(parts, threshold, x)


@qcfs_backward.register_fake
def _(x, threshold, grad_out, levels):
    return torch.empty_like(x), new_total(threshold, x)


differentiate(qcfs_backward, refuse_double_backward, no_context)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    x, threshold, levels = inputs
    ctx.save_for_backward(x, threshold)
    ctx.levels = levels


def _grads(ctx, grad_out: Tensor) -> tuple:
    x, threshold = ctx.saved_tensors
    return *run(qcfs_backward, x, threshold, grad_out, ctx.levels), None


differentiate(qcfs, _grads, _keep)
qcfs.register_vmap(refuse_vmap)
qcfs_backward.register_vmap(refuse_vmap)
