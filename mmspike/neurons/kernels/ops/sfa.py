"""The stateless integer neuron."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out
from mmspike.neurons.kernels.ops.checks import (
    check_input,
    check_integer,
    check_mask,
    check_strides,
)
from mmspike.neurons.kernels.ops.common import (
    differentiate,
    mask_bytes,
    needs_mask,
    new_grad,
    new_mask,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    run,
    runner,
)
from mmspike.neurons.kernels.settings import NO_MEMORY, IntegerSettings, schema_of

_SETTINGS = schema_of(IntegerSettings, NO_MEMORY)


@operator('sfa', f'(Tensor x, {_SETTINGS}, bool keep_mask) -> (Tensor, Tensor)')
def sfa(
    x: Tensor, *settings_and_keep_mask: Any, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Output (...) and, if wanted, a bit per element that says where the gradient passes.

    The bits stand in the order in which the output lies in memory.
    """
    *numbers, keep_mask = settings_and_keep_mask
    settings = IntegerSettings(*numbers)
    check_input('sfa', x)
    check_integer('sfa', settings)
    out = torch.empty_like(x) if out is None else out
    mask = new_mask(x, 1, keep_mask)
    if x.numel():
        x = laid_out(x, out.stride())
        runner(x).sfa_forward(x, out, mask if keep_mask else None, settings)
    return out, mask


@sfa.register_fake
def _(x, *settings_and_keep_mask):
    return torch.empty_like(x), new_mask(x, 1, settings_and_keep_mask[-1])


@operator('sfa_backward', '(Tensor grad_out, Tensor mask, float norm, SymInt[] strides) -> Tensor')
def sfa_backward(grad_out: Tensor, mask: Tensor, norm: float, strides: Sequence[int]) -> Tensor:
    """Gradient of x (...) with ``strides``, those of the output whose gradient is ``grad_out``."""
    check_input('sfa_backward', grad_out)
    check_mask('sfa_backward', mask, mask_bytes(grad_out.shape, 1), grad_out.device)
    check_strides('sfa_backward', grad_out.shape, strides)
    grad_x = new_grad(grad_out, strides)
    if grad_out.numel():
        runner(grad_out).sfa_backward(laid_out(grad_out, grad_x.stride()), mask, grad_x, norm)
    return grad_x


@sfa_backward.register_fake
def _(grad_out, mask, norm, strides):
    return new_grad(grad_out, strides)


differentiate(sfa_backward, refuse_double_backward, no_context)


def _keep(ctx, inputs: tuple, output: tuple) -> None:
    _, *settings, keep_mask = inputs
    needs_mask('sfa', keep_mask)
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.norm = IntegerSettings(*settings).norm
    ctx.others = len(settings) + 1
    ctx.strides = output[0].stride()


def _grads(ctx, grad_out: Tensor, _: None) -> tuple:
    (mask,) = ctx.saved_tensors
    return run(sfa_backward, grad_out, mask, ctx.norm, ctx.strides), *[None] * ctx.others


differentiate(sfa, _grads, _keep)
sfa.register_vmap(refuse_vmap)
sfa_backward.register_vmap(refuse_vmap)
