"""IF, LIF, PLIF and SpikingQCFS."""

from typing import Any

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out, room_for, rows_of
from mmspike.neurons.kernels.ops.checks import check_binary, check_tensor
from mmspike.neurons.kernels.ops.common import (
    differentiate,
    hand_over,
    new_state,
    new_total,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    run,
    runner,
    total,
)
from mmspike.neurons.kernels.settings import BinarySettings, schema_of

_TENSORS = 'Tensor x, Tensor? v, Tensor? learned'
_SETTINGS = schema_of(BinarySettings)


@operator('binary', f'({_TENSORS}, {_SETTINGS}, bool keep_state) -> (Tensor, Tensor)')
def binary(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    *settings_and_keep_state: Any,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Spikes (T, ...) and the membrane after the last step (empty unless ``keep_state``)."""
    *numbers, keep_state = settings_and_keep_state
    settings = BinarySettings(*numbers)
    check_binary('binary', x, v, learned, settings)
    out = torch.empty_like(x) if out is None else out
    v_end = new_state(out, keep_state)
    if x.numel():
        strides = rows_of(out)
        made = room_for(out, strides)
        v_made = room_for(v_end, strides[1:]) if keep_state else None
        v = None if v is None else laid_out(v, strides[1:])
        runner(x).binary_forward(laid_out(x, strides), v, learned, made, v_made, settings)
        hand_over(made, out)
        hand_over(v_made, v_end)
    return out, v_end


@binary.register_fake
def _(x, v, learned, *settings_and_keep_state):
    out = torch.empty_like(x)
    return out, new_state(out, settings_and_keep_state[-1])


@operator(
    'binary_backward',
    f'({_TENSORS}, Tensor? grad_out, Tensor? grad_v_end, {_SETTINGS}) -> (Tensor, Tensor, Tensor)',
)
def binary_backward(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    grad_out: Tensor | None,
    grad_v_end: Tensor | None,
    *settings: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x (T, ...), of v (...; empty without v) and of the learned number."""
    settings = BinarySettings(*settings)
    op = 'binary_backward'
    check_binary(op, x, v, learned, settings)
    check_tensor(op, 'grad_out', grad_out, x.shape, x.dtype, x.device)
    check_tensor(op, 'grad_v_end', grad_v_end, x.shape[1:], torch.float32, x.device)
    grad_x = torch.empty_like(x)
    grad_v, parts = new_state(grad_x, v is not None), None
    if x.numel():
        strides = rows_of(grad_x)
        made = room_for(grad_x, strides)
        v_made = None if v is None else room_for(grad_v, strides[1:])
        parts = runner(x).binary_backward(
            laid_out(x, strides),
            None if v is None else laid_out(v, strides[1:]),
            learned,
            laid_out(torch.zeros_like(made) if grad_out is None else grad_out, strides),
            None if grad_v_end is None else laid_out(grad_v_end, strides[1:]),
            made,
            v_made,
            settings,
        )
        hand_over(made, grad_x)
        hand_over(v_made, grad_v)
    return grad_x, grad_v, total(parts, learned, x)


@binary_backward.register_fake
def _(x, v, learned, *others):
    grad_x = torch.empty_like(x)
    return grad_x, new_state(grad_x, v is not None), new_total(learned, x)


differentiate(binary_backward, refuse_double_backward, no_context)


def _keep(ctx, inputs: tuple, output: tuple) -> None:
    x, v, learned, *settings, keep_state = inputs
    ctx.save_for_backward(x, v, learned)
    ctx.settings = settings
    ctx.keep_state = keep_state
    ctx.set_materialize_grads(False)


def _grads(ctx, grad_out: Tensor | None, grad_v_end: Tensor | None) -> tuple:
    x, v, learned = ctx.saved_tensors
    grad_v_end = grad_v_end if ctx.keep_state else None
    grad_x, grad_v, grad_learned = run(
        binary_backward, x, v, learned, grad_out, grad_v_end, *ctx.settings
    )
    return (
        grad_x,
        None if v is None else grad_v,
        None if learned is None else grad_learned,
        *[None] * (len(ctx.settings) + 1),
    )


differentiate(binary, _grads, _keep)
binary.register_vmap(refuse_vmap)
binary_backward.register_vmap(refuse_vmap)
