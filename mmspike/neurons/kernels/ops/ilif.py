"""The integer leaky integrate-and-fire neuron."""

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out_like
from mmspike.neurons.kernels.ops.common import (
    check_mask,
    new_mask,
    new_state,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    row_strides,
    runner,
)
from mmspike.neurons.kernels.settings import IntegerSettings


@operator('ilif')
def ilif(
    x: Tensor,
    v: Tensor | None,
    D: int,
    norm: float,
    decay: float,
    detach_reset: bool,
    rounding: str,
    grad_window: str,
    keep_state: bool,
    keep_mask: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (T, ...), the membrane after the last step and the mask; the two may be empty."""
    out, v_end = torch.empty_like(x), new_state(x, keep_state)
    mask = new_mask(x, x.shape[0], keep_mask)
    if x.numel():
        runner(x).ilif_forward(
            x,
            None if v is None else laid_out_like(v, row_strides(x)),
            out,
            v_end if keep_state else None,
            mask if keep_mask else None,
            IntegerSettings(D, norm, rounding, grad_window, decay, detach_reset),
        )
    return out, v_end, mask


@ilif.register_fake
def _(x, v, D, norm, decay, detach_reset, rounding, grad_window, keep_state, keep_mask):
    return torch.empty_like(x), new_state(x, keep_state), new_mask(x, x.shape[0], keep_mask)


@operator('ilif_backward')
def ilif_backward(
    grad_out: Tensor,
    grad_v_end: Tensor | None,
    mask: Tensor,
    norm: float,
    decay: float,
    detach_reset: bool,
    has_state: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of x (T, ...) and of v (...; empty without), laid out as ``grad_out`` and x."""
    grad_x, grad_v = torch.empty_like(grad_out), new_state(grad_out, has_state)
    if grad_out.numel():
        runner(grad_out).ilif_backward(
            grad_out,
            mask,
            None if grad_v_end is None else laid_out_like(grad_v_end, row_strides(grad_out)),
            grad_x,
            grad_v if has_state else None,
            norm,
            decay,
            detach_reset,
        )
    return grad_x, grad_v


@ilif_backward.register_fake
def _(grad_out, grad_v_end, mask, norm, decay, detach_reset, has_state):
    return torch.empty_like(grad_out), new_state(grad_out, has_state)


ilif_backward.register_autograd(refuse_double_backward, setup_context=no_context)


def _keep(ctx, inputs: tuple, output: tuple) -> None:
    x, v, _, norm, decay, detach_reset, _, _, keep_state, keep_mask = inputs
    check_mask('ilif', keep_mask)
    ctx.save_for_backward(output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    ctx.settings = (norm, decay, detach_reset, v is not None)
    ctx.keep_state = keep_state
    ctx.shape, ctx.strides, ctx.dtype = x.shape, x.stride(), x.dtype


def _grads(ctx, grad_out: Tensor | None, grad_v_end: Tensor | None, _: None) -> tuple:
    (mask,) = ctx.saved_tensors
    if grad_out is None:
        grad_out = mask.new_zeros(ctx.shape, dtype=ctx.dtype)
    grad_out = laid_out_like(grad_out, ctx.strides)
    grad_v_end = grad_v_end if ctx.keep_state else None
    grad_x, grad_v = ilif_backward(grad_out, grad_v_end, mask, *ctx.settings)
    return grad_x, grad_v if ctx.settings[-1] else None, *[None] * 8


ilif.register_autograd(_grads, setup_context=_keep)
ilif.register_vmap(refuse_vmap)
ilif_backward.register_vmap(refuse_vmap)
