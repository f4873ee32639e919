"""Counting spikes on CPUs by a kernel."""

import ctypes

import torch
from torch import Tensor

from mmspike.neurons.kernels.cpu_library import (
    DTYPES,
    call,
    counts,
    floats,
    pointers,
    threads_for,
)
from mmspike.neurons.kernels.dispatcher import is_plain

# Sums of more channels could overflow the kernel's integers.
MOST_COUNTED_CHANNELS = 1 << 16
# Powers of two within which a number and its inverse are normal numbers in float32.
_NORMAL = (2.0**-126, 2.0**126)


class CountArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *pointers('x', 'sums', 'totals'),
        *counts('rows', 'columns', 'neurons', 'threads', 'begin', 'end'),
        ('strange', ctypes.POINTER(ctypes.c_int32)),
        *floats('spike_value'),
    ]


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
    threads = threads_for(x.numel())
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
    call('mmspike_count', arguments, DTYPES[x.dtype])
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
