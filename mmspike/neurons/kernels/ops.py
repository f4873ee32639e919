"""The neurons as ``torch.library`` operators with autograd.

Each operator has a fake implementation for tracing. Backward runs through an operator of its own,
which has no derivative: double backward is refused. What backward keeps: the input in its own dtype
(binary neurons, which compute their membranes a second time), or one bit per element (integer
neurons).
"""

import torch
from torch import Tensor
from torch.library import custom_op

from mmspike.neurons.kernels import host
from mmspike.neurons.kernels.layout import laid_out_like

NO_LEAK, DIVIDE, MULTIPLY = 0, 1, 2


def _state(x: Tensor, wanted: bool) -> Tensor:
    """A membrane for one step of x (T, ...), laid out like it; empty where none is wanted."""
    if not wanted:
        return torch.empty(0, dtype=torch.float32, device=x.device)
    return torch.empty_strided(x.shape[1:], _row_strides(x), dtype=torch.float32, device=x.device)


def _row_strides(x: Tensor) -> tuple[int, ...]:
    return x.stride()[1:]


def _refuse_double_backward(ctx, *grads: Tensor) -> None:
    raise NotImplementedError(
        'the backward pass of a spiking neuron has no derivative (double backward, as '
        "create_graph=True asks for); neuron_backend('reference') does not refuse"
    )


def _no_context(ctx, inputs: tuple, output: object) -> None:
    pass


# --- IF, LIF, PLIF ------------------------------------------------------------------------------


@custom_op('mmspike::binary', mutates_args=(), device_types='cpu')
def binary(
    x: Tensor,
    v: Tensor | None,
    decay: Tensor | None,
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
    out, v_end = torch.empty_like(x), _state(x, keep_state)
    if x.numel():
        host.run_binary(
            x, None if v is None else laid_out_like(v, v_end if keep_state else _row_strides(x)),
            leak=leak, constant=tau if decay is None else decay.item(), decay_input=decay_input,
            threshold=threshold, v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate,
            alpha=alpha, backward=False, out=out, v_end=v_end if keep_state else None,
        )  # fmt: skip
    return out, v_end


@binary.register_fake
def _(x, v, decay, leak, tau, decay_input, threshold, v_reset, detach_reset, surrogate, alpha,
      keep_state):  # fmt: skip
    return torch.empty_like(x), _state(x, keep_state)


@custom_op('mmspike::binary_backward', mutates_args=(), device_types='cpu')
def binary_backward(
    x: Tensor,
    v: Tensor | None,
    decay: Tensor | None,
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
    """Gradients of x (T, ...), of v (...; empty without v) and of the decay (0-d)."""
    grad_x, grad_v = torch.empty_like(x), _state(x, v is not None)
    sums: list[float] = []
    if x.numel():
        strides = _row_strides(x)
        zeros = torch.zeros_like(x) if grad_out is None else grad_out
        host.run_binary(
            x, None if v is None else laid_out_like(v, strides),
            leak=leak, constant=tau if decay is None else decay.item(), decay_input=decay_input,
            threshold=threshold, v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate,
            alpha=alpha, backward=True, grad_decay=None if decay is None else sums,
            grad_out=laid_out_like(zeros, x),
            grad_v_end=None if grad_v_end is None else laid_out_like(grad_v_end, strides),
            grad_x=grad_x, grad_v=None if v is None else grad_v,
        )  # fmt: skip
    return grad_x, grad_v, torch.tensor(sum(sums), dtype=torch.float32)


@binary_backward.register_fake
def _(x, v, decay, grad_out, grad_v_end, leak, tau, decay_input, threshold, v_reset, detach_reset,
      surrogate, alpha):  # fmt: skip
    return torch.empty_like(x), _state(x, v is not None), torch.empty((), dtype=torch.float32)


binary_backward.register_autograd(_refuse_double_backward, setup_context=_no_context)


def _keep_binary(ctx, inputs: tuple, output: tuple) -> None:
    x, v, decay, *options, keep_state = inputs
    ctx.save_for_backward(x, v, decay)
    ctx.options = options
    ctx.keep_state = keep_state
    ctx.set_materialize_grads(False)


def _binary_grads(ctx, grad_out: Tensor | None, grad_v_end: Tensor | None) -> tuple:
    x, v, decay = ctx.saved_tensors
    grad_v_end = grad_v_end if ctx.keep_state else None
    grad_x, grad_v, grad_decay = binary_backward(x, v, decay, grad_out, grad_v_end, *ctx.options)
    return (
        grad_x,
        None if v is None else grad_v,
        None if decay is None else grad_decay,
        *[None] * (len(ctx.options) + 1),
    )


binary.register_autograd(_binary_grads, setup_context=_keep_binary)


# --- SFA ----------------------------------------------------------------------------------------


def _mask(x: Tensor, steps: int, wanted: bool) -> Tensor:
    """Room for a bit per element, in rows of whole bytes, one per step."""
    row = (x.numel() // steps + 7) // 8
    return torch.empty(steps * row if wanted else 0, dtype=torch.uint8, device=x.device)


@custom_op('mmspike::sfa', mutates_args=(), device_types='cpu')
def sfa(
    x: Tensor, D: int, norm: float, rounding: str, grad_window: str, keep_mask: bool
) -> tuple[Tensor, Tensor]:
    """Output (...) and, if wanted, a bit per element that says where the gradient passes."""
    out, mask = torch.empty_like(x), _mask(x, 1, keep_mask)
    if x.numel():
        host.run_integer(
            'mmspike_sfa', x, steps=1, D=D, norm=norm, decay=0.0, detach_reset=True,
            rounding=rounding, grad_window=grad_window, backward=False,
            x=x, out=out, mask=mask if keep_mask else None,
        )  # fmt: skip
    return out, mask


@sfa.register_fake
def _(x, D, norm, rounding, grad_window, keep_mask):
    return torch.empty_like(x), _mask(x, 1, keep_mask)


@custom_op('mmspike::sfa_backward', mutates_args=(), device_types='cpu')
def sfa_backward(grad_out: Tensor, mask: Tensor, norm: float) -> Tensor:
    """Gradient of x, in the layout of ``grad_out``, which must be that of x."""
    grad_x = torch.empty_like(grad_out)
    if grad_out.numel():
        host.run_integer(
            'mmspike_sfa', grad_out, steps=1, D=1, norm=norm, decay=0.0, detach_reset=True,
            rounding='half_even', grad_window='inclusive', backward=True,
            mask=mask, grad_out=grad_out, grad_x=grad_x,
        )  # fmt: skip
    return grad_x


@sfa_backward.register_fake
def _(grad_out, mask, norm):
    return torch.empty_like(grad_out)


sfa_backward.register_autograd(_refuse_double_backward, setup_context=_no_context)


def _keep_sfa(ctx, inputs: tuple, output: tuple) -> None:
    x, _, norm, *_, keep_mask = inputs
    if not keep_mask:
        raise RuntimeError('mmspike::sfa needs keep_mask=True where a gradient is asked for')
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.norm = norm
    ctx.strides = x.stride()


def _sfa_grads(ctx, grad_out: Tensor, _: Tensor | None) -> tuple:
    (mask,) = ctx.saved_tensors
    return sfa_backward(laid_out_like(grad_out, ctx.strides), mask, ctx.norm), *[None] * 5


sfa.register_autograd(_sfa_grads, setup_context=_keep_sfa)


# --- I-LIF --------------------------------------------------------------------------------------


@custom_op('mmspike::ilif', mutates_args=(), device_types='cpu')
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
    steps = x.shape[0]
    out, v_end, mask = torch.empty_like(x), _state(x, keep_state), _mask(x, steps, keep_mask)
    if x.numel():
        host.run_integer(
            'mmspike_ilif', x, steps=steps, D=D, norm=norm, decay=decay,
            detach_reset=detach_reset, rounding=rounding, grad_window=grad_window, backward=False,
            x=x, v=None if v is None else laid_out_like(v, _row_strides(x)),
            out=out, v_end=v_end if keep_state else None, mask=mask if keep_mask else None,
        )  # fmt: skip
    return out, v_end, mask


@ilif.register_fake
def _(x, v, D, norm, decay, detach_reset, rounding, grad_window, keep_state, keep_mask):
    return torch.empty_like(x), _state(x, keep_state), _mask(x, x.shape[0], keep_mask)


@custom_op('mmspike::ilif_backward', mutates_args=(), device_types='cpu')
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
    grad_x, grad_v = torch.empty_like(grad_out), _state(grad_out, has_state)
    if grad_out.numel():
        strides = _row_strides(grad_out)
        host.run_integer(
            'mmspike_ilif', grad_out, steps=grad_out.shape[0], D=1, norm=norm, decay=decay,
            detach_reset=detach_reset, rounding='half_even', grad_window='inclusive',
            backward=True, grad_out=grad_out, mask=mask, grad_x=grad_x,
            grad_v=grad_v if has_state else None,
            grad_v_end=None if grad_v_end is None else laid_out_like(grad_v_end, strides),
        )  # fmt: skip
    return grad_x, grad_v


@ilif_backward.register_fake
def _(grad_out, grad_v_end, mask, norm, decay, detach_reset, has_state):
    return torch.empty_like(grad_out), _state(grad_out, has_state)


ilif_backward.register_autograd(_refuse_double_backward, setup_context=_no_context)


def _keep_ilif(ctx, inputs: tuple, output: tuple) -> None:
    x, v, _, norm, decay, detach_reset, _, _, keep_state, keep_mask = inputs
    if not keep_mask:
        raise RuntimeError('mmspike::ilif needs keep_mask=True where a gradient is asked for')
    ctx.save_for_backward(output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.options = (norm, decay, detach_reset, v is not None)
    ctx.keep_state = keep_state
    ctx.strides = x.stride()


def _ilif_grads(ctx, grad_out: Tensor, grad_v_end: Tensor, _: Tensor | None) -> tuple:
    (mask,) = ctx.saved_tensors
    grad_out = laid_out_like(grad_out, ctx.strides)
    grad_v_end = grad_v_end if ctx.keep_state else None
    grad_x, grad_v = ilif_backward(grad_out, grad_v_end, mask, *ctx.options)
    return grad_x, grad_v if ctx.options[-1] else None, *[None] * 8


ilif.register_autograd(_ilif_grads, setup_context=_keep_ilif)
