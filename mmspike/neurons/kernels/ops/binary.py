"""IF, LIF, PLIF and SpikingQCFS."""

import torch
from torch import Tensor

from mmspike.neurons.kernels.layout import laid_out_like
from mmspike.neurons.kernels.ops.common import (
    new_state,
    no_context,
    operator,
    refuse_double_backward,
    refuse_vmap,
    row_strides,
    runner,
    total,
)
from mmspike.neurons.kernels.settings import BinarySettings


@operator('binary')
def binary(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    leak: int,
    tau: float,
    decay_input: bool,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: str,
    alpha: float,
    keep_state: bool,
) -> tuple[Tensor, Tensor]:
    """Spikes (T, ...) and the membrane after the last step (empty unless ``keep_state``)."""
    settings = BinarySettings(
        leak, tau, decay_input, threshold, v_reset, detach_reset, surrogate, alpha
    )
    out, v_end = torch.empty_like(x), new_state(x, keep_state)
    if x.numel():
        v = None if v is None else laid_out_like(v, row_strides(x))
        runner(x).binary_forward(x, v, learned, out, v_end if keep_state else None, settings)
    return out, v_end


@binary.register_fake
def _(x, v, learned, *settings_and_keep_state):
    return torch.empty_like(x), new_state(x, settings_and_keep_state[-1])


@operator('binary_backward')
def binary_backward(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    grad_out: Tensor | None,
    grad_v_end: Tensor | None,
    leak: int,
    tau: float,
    decay_input: bool,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: str,
    alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x (T, ...), of v (...; empty without v) and of the learned number (0-d)."""
    settings = BinarySettings(
        leak, tau, decay_input, threshold, v_reset, detach_reset, surrogate, alpha
    )
    grad_x, grad_v = torch.empty_like(x), new_state(x, v is not None)
    parts = None
    if x.numel():
        strides = row_strides(x)
        parts = runner(x).binary_backward(
            x,
            None if v is None else laid_out_like(v, strides),
            learned,
            laid_out_like(torch.zeros_like(x) if grad_out is None else grad_out, x),
            None if grad_v_end is None else laid_out_like(grad_v_end, strides),
            grad_x,
            None if v is None else grad_v,
            settings,
        )
    return grad_x, grad_v, total(parts, x.device)


@binary_backward.register_fake
def _(x, v, *others):
    grad_learned = torch.empty((), dtype=torch.float32, device=x.device)
    return torch.empty_like(x), new_state(x, v is not None), grad_learned


binary_backward.register_autograd(refuse_double_backward, setup_context=no_context)


def _keep(ctx, inputs: tuple, output: tuple) -> None:
    x, v, learned, *settings, keep_state = inputs
    ctx.save_for_backward(x, v, learned)
    ctx.settings = settings
    ctx.keep_state = keep_state
    ctx.set_materialize_grads(False)


def _grads(ctx, grad_out: Tensor | None, grad_v_end: Tensor | None) -> tuple:
    x, v, learned = ctx.saved_tensors
    grad_v_end = grad_v_end if ctx.keep_state else None
    grad_x, grad_v, grad_learned = binary_backward(
        x, v, learned, grad_out, grad_v_end, *ctx.settings
    )
    return (
        grad_x,
        None if v is None else grad_v,
        None if learned is None else grad_learned,
        *[None] * (len(ctx.settings) + 1),
    )


binary.register_autograd(_grads, setup_context=_keep)
binary.register_vmap(refuse_vmap)
binary_backward.register_vmap(refuse_vmap)
