"""The integer leaky integrate-and-fire neuron."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out, room_for, rows_of
from mmspike.neurons.kernels.ops.checks import (
    check_integer,
    check_mask,
    check_sequence,
    check_strides,
    check_tensor,
)
from mmspike.neurons.kernels.ops.common import (
    differentiate,
    hand_over,
    mask_bytes,
    needs_mask,
    new_grad,
    new_mask,
    new_state,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    run,
    runner,
)
from mmspike.neurons.kernels.settings import IntegerSettings, schema_of


@operator(
    'ilif',
    f'(Tensor x, Tensor? v, {schema_of(IntegerSettings)}, bool keep_state, bool keep_mask)'
    ' -> (Tensor, Tensor, Tensor)',
)
def ilif(
    x: Tensor, v: Tensor | None, *settings_and_keep: Any, out: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (T, ...), the membrane after the last step and the mask; the two may be empty.

    The mask has a bit per element that says where the gradient passes, in rows of whole bytes, one
    per step, and in each row in the order in which the kernel runs through a step's neurons.
    """
    *numbers, keep_state, keep_mask = settings_and_keep
    settings = IntegerSettings(*numbers)
    check_sequence('ilif', x)
    check_tensor('ilif', 'v', v, x.shape[1:], torch.float32, x.device)
    check_integer('ilif', settings)
    out = torch.empty_like(x) if out is None else out
    v_end, mask = new_state(out, keep_state), new_mask(x, x.shape[0], keep_mask)
    if x.numel():
        strides = rows_of(out)
        made = room_for(out, strides)
        v_made = room_for(v_end, strides[1:]) if keep_state else None
        runner(x).ilif_forward(
            laid_out(x, strides),
            None if v is None else laid_out(v, strides[1:]),
            made,
            v_made,
            mask if keep_mask else None,
            settings,
        )
        hand_over(made, out)
        hand_over(v_made, v_end)
    return out, v_end, mask


@ilif.register_fake
def _(x, v, *settings_and_keep):
    keep_state, keep_mask = settings_and_keep[-2:]
    out = torch.empty_like(x)
    return out, new_state(out, keep_state), new_mask(x, x.shape[0], keep_mask)


@operator(
    'ilif_backward',
    '(Tensor grad_out, Tensor? grad_v_end, Tensor mask, float norm, float decay, bool detach_reset,'
    ' bool has_state, SymInt[] strides) -> (Tensor, Tensor)',
)
def ilif_backward(
    grad_out: Tensor,
    grad_v_end: Tensor | None,
    mask: Tensor,
    norm: float,
    decay: float,
    detach_reset: bool,
    has_state: bool,
    strides: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Gradients of x (T, ...) with ``strides``, those of the output, and of v (...; or empty)."""
    check_sequence('ilif_backward', grad_out)
    steps, row = grad_out.shape[0], grad_out.shape[1:]
    check_tensor('ilif_backward', 'grad_v_end', grad_v_end, row, torch.float32, grad_out.device)
    check_mask('ilif_backward', mask, mask_bytes(grad_out.shape, steps), grad_out.device)
    check_strides('ilif_backward', grad_out.shape, strides)
    grad_x = new_grad(grad_out, strides)
    grad_v = new_state(grad_x, has_state)
    if grad_out.numel():
        strides = rows_of(grad_x)
        made = room_for(grad_x, strides)
        v_made = room_for(grad_v, strides[1:]) if has_state else None
        runner(grad_out).ilif_backward(
            laid_out(grad_out, strides),
            mask,
            None if grad_v_end is None else laid_out(grad_v_end, strides[1:]),
            made,
            v_made,
            norm,
            decay,
            detach_reset,
        )
        hand_over(made, grad_x)
        hand_over(v_made, grad_v)
    return grad_x, grad_v


@ilif_backward.register_fake
def _(grad_out, grad_v_end, mask, norm, decay, detach_reset, has_state, strides):
    grad_x = new_grad(grad_out, strides)
    return grad_x, new_state(grad_x, has_state)


differentiate(ilif_backward, refuse_double_backward, no_context)


def _keep(ctx, inputs: tuple, output: tuple) -> None:
    x, v, *numbers, keep_state, keep_mask = inputs
    needs_mask('ilif', keep_mask)
    ctx.save_for_backward(output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    settings = IntegerSettings(*numbers)
    ctx.settings = (settings.norm, settings.decay, settings.detach_reset, v is not None)
    ctx.others = len(settings) + 2
    ctx.keep_state = keep_state
    ctx.shape, ctx.strides, ctx.dtype = x.shape, output[0].stride(), x.dtype


def _grads(ctx, grad_out: Tensor | None, grad_v_end: Tensor | None, _: None) -> tuple:
    (mask,) = ctx.saved_tensors
    if grad_out is None:
        grad_out = mask.new_zeros(ctx.shape, dtype=ctx.dtype)
    grad_v_end = grad_v_end if ctx.keep_state else None
    grad_x, grad_v = run(ilif_backward, grad_out, grad_v_end, mask, *ctx.settings, ctx.strides)
    return grad_x, grad_v if ctx.settings[-1] else None, *[None] * ctx.others


differentiate(ilif, _grads, _keep)
ilif.register_vmap(refuse_vmap)
ilif_backward.register_vmap(refuse_vmap)
