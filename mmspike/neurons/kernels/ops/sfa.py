"""The stateless integer neuron."""

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out_like
from mmspike.neurons.kernels.ops.common import (
    check_mask,
    new_mask,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    runner,
)
from mmspike.neurons.kernels.settings import IntegerSettings


@operator('sfa')
def sfa(
    x: Tensor, D: int, norm: float, rounding: str, grad_window: str, keep_mask: bool
) -> tuple[Tensor, Tensor]:
    """Output (...) and, if wanted, a bit per element that says where the gradient passes."""
    out, mask = torch.empty_like(x), new_mask(x, 1, keep_mask)
    if x.numel():
        settings = IntegerSettings(D, norm, rounding, grad_window)
        runner(x).sfa_forward(x, out, mask if keep_mask else None, settings)
    return out, mask


@sfa.register_fake
def _(x, D, norm, rounding, grad_window, keep_mask):
    return torch.empty_like(x), new_mask(x, 1, keep_mask)


@operator('sfa_backward')
def sfa_backward(grad_out: Tensor, mask: Tensor, norm: float) -> Tensor:
    """Gradient of x, in the layout of ``grad_out``, which must be that of x."""
    grad_x = torch.empty_like(grad_out)
    if grad_out.numel():
        runner(grad_out).sfa_backward(grad_out, mask, grad_x, norm)
    return grad_x


@sfa_backward.register_fake
def _(grad_out, mask, norm):
    return torch.empty_like(grad_out)


sfa_backward.register_autograd(refuse_double_backward, setup_context=no_context)


def _keep(ctx, inputs: tuple, output: tuple) -> None:
    x, _, norm, *_, keep_mask = inputs
    check_mask('sfa', keep_mask)
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.norm = norm
    ctx.strides = x.stride()


def _grads(ctx, grad_out: Tensor, _: None) -> tuple:
    (mask,) = ctx.saved_tensors
    return sfa_backward(laid_out_like(grad_out, ctx.strides), mask, ctx.norm), *[None] * 5


sfa.register_autograd(_grads, setup_context=_keep)
sfa.register_vmap(refuse_vmap)
sfa_backward.register_vmap(refuse_vmap)
