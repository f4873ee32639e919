"""Common functions of the operators."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef, custom_op

from mmspike.neurons.kernels import cpu, cuda
from mmspike.neurons.kernels.dispatcher import may_be_left_out
from mmspike.neurons.kernels.layout import state_of

DEVICES = ('cpu', 'cuda')


def operator(name: str, schema: str) -> Callable[[Callable], CustomOpDef]:
    """Make a function of tensors an operator, which keeps it as its ``body``.

    Args:
        name: Without the namespace.
        schema: Arguments and results in the language of torch's schemas.
    """

    def decorate(body: Callable) -> CustomOpDef:
        made = custom_op(
            f'mmspike::{name}', body, mutates_args=(), device_types=DEVICES, schema=schema
        )
        made.body = body  # type: ignore[attr-defined]  # an attribute of ours
        return made

    return decorate


def differentiate(operator: CustomOpDef, backward: Callable, keep: Callable) -> None:
    """Give an operator its gradient, for the dispatcher and for calls that leave it out.

    Args:
        operator: Made by :func:`operator`.
        backward: From a context and the gradients of the outputs to those of the arguments.
        keep: Keeps in a context what ``backward`` needs, ``keep(ctx, arguments, outputs)``.
    """
    operator.register_autograd(backward, setup_context=keep)
    body = operator.body  # type: ignore[attr-defined]  # see operator()

    class Direct(torch.autograd.Function):
        """The body with its gradient."""

        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            outputs = body(*arguments)
            keep(ctx, arguments, outputs)
            return outputs

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return backward(ctx, *grads)

    operator.direct = Direct.apply  # type: ignore[attr-defined]  # an attribute of ours


def run(operator: CustomOpDef, *arguments: Any, overwrite: bool = False) -> Any:
    """Call an operator; where nobody watches its body, without torch's dispatcher.

    Args:
        operator: Made by :func:`operator`.
        *arguments: Its arguments; the input comes first.
        overwrite: In plain inference on a CPU, the output takes the memory of the input, whose
            values are lost. The body has an argument ``out`` for that.
    """
    if not may_be_left_out(arguments):
        return operator(*arguments)
    made: Any = operator
    if torch.is_grad_enabled():
        return (made.direct if _any_requires_grad(arguments) else made.body)(*arguments)
    x = arguments[0]
    # Elements of an expanded tensor share their memory.
    if overwrite and x.device.type == 'cpu' and 0 not in x.stride():
        return made.body(*arguments, out=x)
    return made.body(*arguments)


def _any_requires_grad(arguments: Sequence[object]) -> bool:
    return any(isinstance(x, Tensor) and x.requires_grad for x in arguments)


def runner(x: Tensor) -> ModuleType:
    """The kernels of a tensor's device."""
    return cuda if x.is_cuda else cpu


def new_state(out: Tensor, wanted: bool) -> Tensor:
    """A membrane for one step of a sequence (T, ...); empty where none is wanted."""
    if wanted:
        return state_of(out)
    return torch.empty(0, dtype=torch.float32, device=out.device)


def mask_bytes(shape: Sequence[int], steps: int) -> int:
    """Bytes for a bit per element of this shape, in rows of whole bytes, one per step."""
    elements = 1
    for size in shape:
        elements = elements * size
    return steps * ((elements // steps + 7) // 8)


def new_mask(x: Tensor, steps: int, wanted: bool) -> Tensor:
    """Room for a bit per element, in rows of whole bytes, one per step."""
    size = mask_bytes(x.shape, steps) if wanted else 0
    return torch.empty(size, dtype=torch.uint8, device=x.device)


def new_grad(grad_out: Tensor, strides: Sequence[int]) -> Tensor:
    """Room for the gradient of an input, with these strides, of the kind of the output's."""
    return torch.empty_strided(
        grad_out.shape, strides, dtype=grad_out.dtype, device=grad_out.device
    )


def hand_over(made: Tensor | None, wanted: Tensor) -> None:
    """Copy a kernel's output, if there is one, to its destination, unless it is there already."""
    if made is not None and made is not wanted:
        wanted.copy_(made)


def new_total(learned: Tensor | None, x: Tensor) -> Tensor:
    """Zero, float32, for the gradient of a learned number; 0-d where there is none."""
    shape = () if learned is None else learned.shape
    return torch.zeros(shape, dtype=torch.float32, device=x.device)


def total(parts: Tensor | None, learned: Tensor | None, x: Tensor) -> Tensor:
    """Sum of a gradient's parts, float32 in the shape of the learned number; 0 without parts."""
    if parts is None or learned is None:
        return new_total(learned, x)
    return parts.sum(dtype=torch.float64).float().reshape(learned.shape)


def needs_mask(name: str, keep_mask: bool) -> None:
    """An operator whose backward needs the mask was called with a gradient, but without it."""
    if not keep_mask:
        raise RuntimeError(f'mmspike::{name} needs keep_mask=True where a gradient is asked for')


def no_context(ctx, inputs: tuple, output: object) -> None:
    """Keep nothing for a backward pass that is refused."""


def refuse_double_backward(ctx, *grads: Tensor) -> None:
    """Backward of a backward operator."""
    raise NotImplementedError(
        'the backward pass of a spiking neuron has no derivative (double backward, as '
        "create_graph=True asks for); neuron_backend('reference') supports it"
    )


def refuse_vmap(info, in_dims: tuple, *arguments: object) -> None:
    """The rule of vmap for an operator."""
    raise NotImplementedError(
        'the kernels of spiking neurons cannot be mapped by torch.func.vmap: fold what is mapped '
        "into the batch, or use neuron_backend('reference')"
    )
