"""Calling the CPU kernels."""

import ctypes

import torch
from torch import Tensor

from mmspike.neurons.kernels.cpu_library import (
    AVAILABLE,
    HOW_TO_BUILD,
    LIBRARY,
    BinaryArguments,
    BinaryOptions,
    CountArguments,
    IntegerArguments,
    IntegerOptions,
    QcfsArguments,
)
from mmspike.neurons.kernels.dispatcher import is_plain
from mmspike.neurons.kernels.settings import SURROGATES, BinarySettings, IntegerSettings

__all__ = [
    'AVAILABLE',
    'HOW_TO_BUILD',
    'binary_backward',
    'binary_forward',
    'count_spikes',
    'ilif_backward',
    'ilif_forward',
    'qcfs_backward',
    'qcfs_forward',
    'sfa_backward',
    'sfa_forward',
]

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# Below so many elements a second thread costs more than it saves.
SINGLE_THREAD = 1 << 16


def _threads(elements: int) -> int:
    return torch.get_num_threads() if elements >= SINGLE_THREAD else 1


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _call(function: str, arguments: ctypes.Structure, *options: int) -> None:
    if getattr(LIBRARY, function)(ctypes.byref(arguments), *map(int, options)):
        raise RuntimeError(
            f'{function} was built by a compiler without this dtype (float16 needs GCC 12 or '
            "Clang 15); use neuron_backend('reference')"
        )


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
        x=_pointer(x),
        steps=x.shape[0],
        neurons=x[0].numel(),
        threads=threads,
        detach_reset=settings.detach_reset,
        options=options,
        grad_learned=None if grad_learned is None else ctypes.addressof(grad_learned),
        **{name: _pointer(tensor) for name, tensor in tensors.items()},
    )
    _call(
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
    threads = _threads(x.numel())
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
    threads = _threads(x.numel())
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
        threads=_threads(like.numel()),
        detach_reset=settings.detach_reset,
        options=IntegerOptions(settings.D, settings.norm, settings.decay),
        **{name: _pointer(tensor) for name, tensor in tensors.items()},
    )
    _call(
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
        x=_pointer(x),
        neurons=x.numel(),
        threads=threads,
        threshold=threshold.item(),
        levels=levels,
        grad_threshold=None if grad_threshold is None else ctypes.addressof(grad_threshold),
        **{name: _pointer(tensor) for name, tensor in tensors.items()},
    )
    _call('mmspike_qcfs', arguments, DTYPES[x.dtype], backward)


def qcfs_forward(x: Tensor, threshold: Tensor, out: Tensor, levels: int) -> None:
    """Fill ``out``."""
    _run_qcfs(x, threshold, levels, backward=False, threads=_threads(x.numel()), out=out)


def qcfs_backward(
    x: Tensor, threshold: Tensor, grad_out: Tensor, grad_x: Tensor, levels: int
) -> Tensor:
    """Fill ``grad_x``; return the gradient of the threshold in parts."""
    threads = _threads(x.numel())
    parts = (ctypes.c_double * threads)()
    _run_qcfs(
        x, threshold, levels, backward=True, threads=threads, grad_threshold=parts,
        grad_out=grad_out, grad_x=grad_x,
    )  # fmt: skip
    return torch.tensor(list(parts), dtype=torch.float64)


# --- counting -----------------------------------------------------------------------------------

# Sums of more channels could overflow the kernel's integers.
MOST_COUNTED_CHANNELS = 1 << 16
# Powers of two within which a number and its inverse are normal numbers in float32.
_NORMAL = (2.0**-126, 2.0**126)


def count_spikes(x: Tensor, spike_value: float) -> tuple[Tensor, Tensor] | None:
    """Count the spikes of neurons, and those that fired.

    Args:
        x: Contiguous ``(N, C, ...)``, at most 65,536 channels, float32, float16 or bfloat16, on a
            CPU: multiples of ``spike_value``, not negative.
        spike_value: What one spike is worth.

    Returns:
        Spikes summed over C ``(N, ...)``, and over everything ``(2,)``: spikes, and values that are
        not 0; float64. None if there is a value that is no number of spikes, such as NaN.

    Raises:
        ValueError: ``x`` or ``spike_value`` is something else.
    """
    _check_counted(x, spike_value)
    samples, rows = x.shape[:2]
    threads = _threads(x.numel())
    sums = torch.empty((samples, *x.shape[2:]), dtype=torch.float64, device=x.device)
    totals = torch.empty((threads, 2), dtype=torch.float64, device=x.device)
    strange = ctypes.c_int32(0)
    arguments = CountArguments(
        x=x.data_ptr(),
        sums=sums.data_ptr(),
        totals=totals.data_ptr(),
        rows=rows,
        columns=sums.numel() // samples,
        neurons=sums.numel(),
        threads=threads,
        strange=ctypes.pointer(strange),
        spike_value=spike_value,
    )
    _call('mmspike_count', arguments, DTYPES[x.dtype])
    return None if strange.value else (sums, totals.sum(0))


def _check_counted(x: Tensor, spike_value: float) -> None:
    if x.device.type != 'cpu' or x.dtype not in DTYPES:
        raise ValueError(
            f'spikes are counted on a CPU in {", ".join(map(str, DTYPES))}, got {x.dtype} on '
            f'{x.device}'
        )
    if not x.is_neg() and not is_plain(x):
        raise ValueError(
            f'spikes are counted of plain tensors, got a {type(x).__name__} of layout {x.layout}, '
            'a subclass, or zeros without memory'
        )
    if x.dim() < 2 or not x.numel() or x.shape[1] > MOST_COUNTED_CHANNELS:
        raise ValueError(
            f'spikes are counted in (N, C, ...) that is not empty, of at most '
            f'{MOST_COUNTED_CHANNELS} channels C, got {tuple(x.shape)}'
        )
    if not x.is_contiguous() or x.is_neg():
        raise ValueError(
            f'spikes are counted in contiguous memory, got strides {x.stride()} of shape '
            f'{tuple(x.shape)}, negated: {x.is_neg()}; use x.resolve_neg().contiguous()'
        )
    least, most = _NORMAL
    if not least <= spike_value <= most:
        raise ValueError(f'spike_value must be finite and above 0, got {spike_value!r}')
