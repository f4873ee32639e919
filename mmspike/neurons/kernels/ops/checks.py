"""Checks of operators' arguments, which protect the memory accesses of the kernels.

An operator checks its own arguments, whoever calls it: a layer, a traced or exported graph, or
``torch.ops.mmspike`` by hand. Messages begin with the operator's name.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from mmspike.neurons.kernels.settings import (
    KERNEL_DTYPES,
    LARGEST_INTEGER,
    LEAKS,
    LEARNED_LEAKS,
    SURROGATES,
    BinarySettings,
    IntegerSettings,
)
from mmspike.neurons.reference import GRAD_WINDOWS, ROUNDINGS


def check_input(op: str, x: Tensor) -> None:
    """Refuse a dtype that kernels do not know.

    Raises:
        ValueError: With the operator and the dtype.
    """
    if x.dtype not in KERNEL_DTYPES:
        raise ValueError(
            f'mmspike::{op}: the input is {x.dtype}; kernels take float32, float16 and bfloat16'
        )


def check_sequence(op: str, x: Tensor) -> None:
    """Refuse anything but a sequence (T, ...) of at least one step, and unknown dtypes.

    Raises:
        ValueError: With the operator and the shape or dtype.
    """
    check_input(op, x)
    if x.dim() == 0 or x.shape[0] == 0:
        raise ValueError(
            f'mmspike::{op}: the input has shape {tuple(x.shape)}; it must be (T, ...) with at '
            'least one time step'
        )


def check_tensor(
    op: str,
    name: str,
    tensor: Tensor | None,
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Refuse a tensor that is not what the input asks for; None passes.

    Raises:
        ValueError: With the operator, the tensor's name, what it is and what it must be.
    """
    if tensor is None:
        return
    if tensor.shape == shape and tensor.dtype == dtype and tensor.device == device:
        return
    raise ValueError(
        f'mmspike::{op}: {name} has shape {tuple(tensor.shape)} and is {tensor.dtype} on '
        f'{tensor.device}; to fit the input it must have shape {tuple(shape)} and be {dtype} on '
        f'{device}'
    )


def check_learned(op: str, name: str, learned: Tensor | None, device: torch.device) -> None:
    """Refuse a learned number that is not one float32 on the input's device; None passes.

    Raises:
        ValueError: As :func:`check_tensor`.
    """
    if learned is None:
        return
    if learned.numel() != 1 or learned.dim() > 1:
        raise ValueError(
            f'mmspike::{op}: {name} has shape {tuple(learned.shape)}; it must be one number, of '
            'shape (1,) or ()'
        )
    check_tensor(op, name, learned, learned.shape, torch.float32, device)


def check_mask(op: str, mask: Tensor, bytes_: int, device: torch.device) -> None:
    """Refuse a mask without a bit for every element.

    Raises:
        ValueError: As :func:`check_tensor`.
    """
    check_tensor(op, 'mask', mask, (bytes_,), torch.uint8, device)
    if not mask.is_contiguous():
        raise ValueError(f'mmspike::{op}: mask has stride {mask.stride(0)}; it must be contiguous')


def check_strides(op: str, shape: Sequence[int], strides: Sequence[int]) -> None:
    """Refuse strides that do not lay a tensor of this shape out densely, each element once.

    Raises:
        ValueError: With the operator, the shape and the strides.
    """
    if len(shape) == len(strides):
        expected = 1
        for stride, size in sorted(zip(strides, shape, strict=True)):
            if size == 1:
                continue
            if stride != expected:
                break
            expected *= size
        else:
            return
        if 0 in shape:
            return
    raise ValueError(
        f'mmspike::{op}: strides {tuple(strides)} do not lay out shape {tuple(shape)} densely'
    )


def _check_choice(op: str, name: str, value: object, known: Collection) -> None:
    if value not in known:
        raise ValueError(f'mmspike::{op}: {name} must be one of {list(known)}, got {value!r}')


def check_largest(op: str, name: str, value: int) -> None:
    """Refuse a largest integer that is below 1, or too large to be rounded to exactly.

    Raises:
        ValueError: With the operator, the value and the bounds.
    """
    if not 1 <= value <= LARGEST_INTEGER:
        raise ValueError(
            f'mmspike::{op}: {name} must lie between 1 and {LARGEST_INTEGER}, got {value}'
        )


def check_binary(
    op: str, x: Tensor, v: Tensor | None, learned: Tensor | None, settings: BinarySettings
) -> None:
    """Refuse the arguments that forward and backward of binary neurons share.

    Raises:
        ValueError: As the other checks, or a neuron with a learned number got none.
    """
    check_sequence(op, x)
    check_tensor(op, 'v', v, x.shape[1:], torch.float32, x.device)
    check_learned(op, 'learned', learned, x.device)
    _check_choice(op, 'leak', settings.leak, LEAKS)
    _check_choice(op, 'surrogate', settings.surrogate, SURROGATES)
    if (settings.leak in LEARNED_LEAKS) != (learned is not None):
        raise ValueError(
            f'mmspike::{op}: learned must be given where leak is one of {LEARNED_LEAKS} and '
            f'nowhere else; leak is {settings.leak} and learned {learned}'
        )


def check_integer(op: str, settings: IntegerSettings) -> None:
    """Refuse options of integer neurons that kernels do not know.

    Raises:
        ValueError: With the operator, the option and what it may be.
    """
    check_largest(op, 'D', settings.D)
    _check_choice(op, 'rounding', settings.rounding, ROUNDINGS)
    _check_choice(op, 'grad_window', settings.grad_window, GRAD_WINDOWS)
