"""What the operators share."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef, custom_op
from torch.nn import Parameter

from mmspike.neurons.kernels import device, host

DEVICES = ('cpu', 'cuda')


def operator(name: str) -> Callable[[Callable], CustomOpDef]:
    """Make a function of tensors an operator, which keeps it as its ``body``."""

    def decorate(body: Callable) -> CustomOpDef:
        made = custom_op(f'mmspike::{name}', mutates_args=(), device_types=DEVICES)(body)
        made.body = body
        return made

    return decorate


def run(operator: CustomOpDef, *arguments: Any) -> tuple[Tensor, ...] | Tensor:
    """Call an operator; in plain inference its body, without the dispatcher.

    The dispatcher's way through Python takes 20 us, and with the caches full of maps 150 us: as
    long as the kernel of a small map.
    """
    return (operator.body if _unobserved(arguments) else operator)(*arguments)


def _unobserved(arguments: tuple) -> bool:
    """Whether no gradient, tracer, mode, profiler or tensor subclass is there to see a call."""
    return not (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()
        or torch.jit.is_tracing()
        or torch._C._len_torch_dispatch_stack()
        or (torch._C._len_torch_function_stack() and not torch._C._is_torch_function_all_disabled())
        or torch.autograd._profiler_enabled()
        or any(isinstance(x, Tensor) and type(x) not in (Tensor, Parameter) for x in arguments)
    )


def runner(x: Tensor) -> ModuleType:
    """The kernels of a tensor's device."""
    return device if x.is_cuda else host


def row_strides(x: Tensor) -> tuple[int, ...]:
    """Strides of one step of x (T, ...)."""
    return x.stride()[1:]


def new_state(x: Tensor, wanted: bool) -> Tensor:
    """A membrane for one step of x (T, ...), laid out like it; empty where none is wanted."""
    if not wanted:
        return torch.empty(0, dtype=torch.float32, device=x.device)
    return torch.empty_strided(x.shape[1:], row_strides(x), dtype=torch.float32, device=x.device)


def new_mask(x: Tensor, steps: int, wanted: bool) -> Tensor:
    """Room for a bit per element, in rows of whole bytes, one per step."""
    row = (x.numel() // steps + 7) // 8
    return torch.empty(steps * row if wanted else 0, dtype=torch.uint8, device=x.device)


def total(parts: Tensor | None, device: torch.device) -> Tensor:
    """The sum of a gradient's parts, 0-d float32; 0 without parts."""
    if parts is None:
        return torch.zeros((), dtype=torch.float32, device=device)
    return parts.sum(dtype=torch.float64).float()


def check_mask(name: str, keep_mask: bool) -> None:
    """An operator whose backward needs the mask was called with a gradient, but without it."""
    if not keep_mask:
        raise RuntimeError(f'mmspike::{name} needs keep_mask=True where a gradient is asked for')


def no_context(ctx, inputs: tuple, output: object) -> None:
    """Keep nothing for a backward pass that is refused."""


def refuse_double_backward(ctx, *grads: Tensor) -> None:
    """Backward of a backward operator."""
    raise NotImplementedError(
        'the backward pass of a spiking neuron has no derivative (double backward, as '
        "create_graph=True asks for); neuron_backend('reference') does not refuse"
    )


def refuse_vmap(info, in_dims: tuple, *arguments: object) -> None:
    """What vmap calls for an operator."""
    raise NotImplementedError(
        'the kernels of spiking neurons cannot be mapped by torch.func.vmap: fold what is mapped '
        "into the batch, or use neuron_backend('reference')"
    )
