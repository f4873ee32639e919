"""Calling the CPU kernels of neurons."""

import ctypes

import torch
from torch import Tensor

from mmspike.moved import moved_names
from mmspike.neurons.kernels.cpu_library import (
    AVAILABLE,
    DTYPES,
    HOW_TO_BUILD,
    call,
    counts,
    floats,
    pointer_of,
    pointers,
    threads_for,
)
from mmspike.neurons.kernels.settings import SURROGATES, BinarySettings, IntegerSettings

__all__ = [
    'AVAILABLE',
    'HOW_TO_BUILD',
    'binary_backward',
    'binary_forward',
    'ilif_backward',
    'ilif_forward',
    'qcfs_backward',
    'qcfs_forward',
    'sfa_backward',
    'sfa_forward',
]


class BinaryOptions(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = floats('constant', 'threshold', 'v_reset', 'alpha')


class BinaryArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *pointers('x', 'v', 'out', 'v_end', 'grad_out', 'grad_v_end', 'grad_x', 'grad_v'),
        *pointers('grad_learned'),
        *counts('steps', 'neurons', 'threads', 'begin', 'end'),
        ('detach_reset', ctypes.c_int32),
        ('options', BinaryOptions),
    ]


class IntegerOptions(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = floats('D', 'norm', 'decay')


class IntegerArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *pointers('x', 'v', 'out', 'v_end', 'mask', 'grad_out', 'grad_v_end', 'grad_x', 'grad_v'),
        *counts('steps', 'neurons', 'threads', 'begin', 'end'),
        ('detach_reset', ctypes.c_int32),
        ('options', IntegerOptions),
    ]


class QcfsArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *pointers('x', 'out', 'grad_out', 'grad_x', 'grad_threshold'),
        *counts('neurons', 'threads', 'begin', 'end'),
        *floats('threshold', 'levels'),
    ]


# --- IF, LIF, PLIF, SpikingQCFS -------------------------------------------------------------------


def _run_binary(
    x: Tensor,
    learned: Tensor | None,
    settings: BinarySettings,
    *,
    backward: bool,
    threads: int,
    grad_learned: ctypes.Array | None = None,
    **tensors: Tensor | None,
) -> None:
    leak, constant = settings.charge()
    if learned is not None:
        constant = learned.item()
    options = BinaryOptions(constant, settings.threshold, settings.rest, settings.alpha)
    arguments = BinaryArguments(
        x=pointer_of(x),
        steps=x.shape[0],
        neurons=x[0].numel(),
        threads=threads,
        detach_reset=settings.detach_reset,
        options=options,
        grad_learned=None if grad_learned is None else ctypes.addressof(grad_learned),
        **{name: pointer_of(tensor) for name, tensor in tensors.items()},
    )
    call(
        'mmspike_binary', arguments,
        DTYPES[x.dtype], leak, settings.decay_input, settings.v_reset is not None,
        SURROGATES[settings.surrogate], backward,
    )  # fmt: skip


def binary_forward(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    out: Tensor,
    v_end: Tensor | None,
    settings: BinarySettings,
) -> None:
    """Fill ``out`` (T, ...) and ``v_end`` (...)."""
    threads = threads_for(x.numel())
    _run_binary(x, learned, settings, backward=False, threads=threads, v=v, out=out, v_end=v_end)


def binary_backward(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    grad_out: Tensor,
    grad_v_end: Tensor | None,
    grad_x: Tensor,
    grad_v: Tensor | None,
    settings: BinarySettings,
) -> Tensor | None:
    """Fill ``grad_x`` and ``grad_v``; return the gradient of the learned number in parts."""
    threads = threads_for(x.numel())
    parts = None if learned is None else (ctypes.c_double * threads)()
    _run_binary(
        x, learned, settings, backward=True, threads=threads, grad_learned=parts, v=v,
        grad_out=grad_out, grad_v_end=grad_v_end, grad_x=grad_x, grad_v=grad_v,
    )  # fmt: skip
    return None if parts is None else torch.tensor(list(parts), dtype=torch.float64)


# --- SFA, I-LIF ---------------------------------------------------------------------------------


def _run_integer(
    function: str,
    like: Tensor,
    steps: int,
    settings: IntegerSettings,
    *,
    backward: bool,
    **tensors: Tensor | None,
) -> None:
    arguments = IntegerArguments(
        steps=steps,
        neurons=like.numel() // steps,
        threads=threads_for(like.numel()),
        detach_reset=settings.detach_reset,
        options=IntegerOptions(settings.D, settings.norm, settings.decay),
        **{name: pointer_of(tensor) for name, tensor in tensors.items()},
    )
    call(
        function, arguments, DTYPES[like.dtype], settings.half_up, settings.strict, backward
    )  # fmt: skip


def _backward_settings(norm: float, decay: float, detach_reset: bool) -> IntegerSettings:
    """Backward needs only the mask, which contains the clamp and the rounding."""
    return IntegerSettings(1, norm, 'half_even', 'inclusive', decay, detach_reset)


def sfa_forward(x: Tensor, out: Tensor, mask: Tensor | None, settings: IntegerSettings) -> None:
    """Fill ``out`` and ``mask``."""
    _run_integer('mmspike_sfa', x, 1, settings, backward=False, x=x, out=out, mask=mask)


def sfa_backward(grad_out: Tensor, mask: Tensor, grad_x: Tensor, norm: float) -> None:
    """Fill ``grad_x``."""
    settings = _backward_settings(norm, 0.0, True)
    _run_integer(
        'mmspike_sfa', grad_out, 1, settings, backward=True, grad_out=grad_out, mask=mask,
        grad_x=grad_x,
    )  # fmt: skip


def ilif_forward(
    x: Tensor,
    v: Tensor | None,
    out: Tensor,
    v_end: Tensor | None,
    mask: Tensor | None,
    settings: IntegerSettings,
) -> None:
    """Fill ``out`` (T, ...), ``v_end`` (...) and ``mask``."""
    _run_integer(
        'mmspike_ilif', x, x.shape[0], settings, backward=False, x=x, v=v, out=out, v_end=v_end,
        mask=mask,
    )  # fmt: skip


def ilif_backward(
    grad_out: Tensor,
    mask: Tensor,
    grad_v_end: Tensor | None,
    grad_x: Tensor,
    grad_v: Tensor | None,
    norm: float,
    decay: float,
    detach_reset: bool,
) -> None:
    """Fill ``grad_x`` (T, ...) and ``grad_v`` (...)."""
    settings = _backward_settings(norm, decay, detach_reset)
    _run_integer(
        'mmspike_ilif', grad_out, grad_out.shape[0], settings, backward=True, grad_out=grad_out,
        mask=mask, grad_v_end=grad_v_end, grad_x=grad_x, grad_v=grad_v,
    )  # fmt: skip


# --- QCFS ---------------------------------------------------------------------------------------


def _run_qcfs(
    x: Tensor,
    threshold: Tensor,
    levels: int,
    *,
    backward: bool,
    threads: int,
    grad_threshold: ctypes.Array | None = None,
    **tensors: Tensor,
) -> None:
    arguments = QcfsArguments(
        x=pointer_of(x),
        neurons=x.numel(),
        threads=threads,
        threshold=threshold.item(),
        levels=levels,
        grad_threshold=None if grad_threshold is None else ctypes.addressof(grad_threshold),
        **{name: pointer_of(tensor) for name, tensor in tensors.items()},
    )
    call('mmspike_qcfs', arguments, DTYPES[x.dtype], backward)


def qcfs_forward(x: Tensor, threshold: Tensor, out: Tensor, levels: int) -> None:
    """Fill ``out``."""
    _run_qcfs(x, threshold, levels, backward=False, threads=threads_for(x.numel()), out=out)


def qcfs_backward(
    x: Tensor, threshold: Tensor, grad_out: Tensor, grad_x: Tensor, levels: int
) -> Tensor:
    """Fill ``grad_x``; return the gradient of the threshold in parts."""
    threads = threads_for(x.numel())
    parts = (ctypes.c_double * threads)()
    _run_qcfs(
        x, threshold, levels, backward=True, threads=threads, grad_threshold=parts,
        grad_out=grad_out, grad_x=grad_x,
    )  # fmt: skip
    return torch.tensor(list(parts), dtype=torch.float64)


__getattr__ = moved_names(
    __name__,
    {
        'count_spikes': 'neurons.kernels.count:count_spikes',
        'cpu_flags': 'neurons.kernels.cpu_library:cpu_flags',
        'load_library': 'neurons.kernels.cpu_library:load_library',
    },
)
