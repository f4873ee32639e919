"""Sums over spikes: exact, fast, and without waiting for a GPU."""

import math
from collections.abc import Hashable

import torch
from torch import Tensor

from mmspike.moved import moved_names
from mmspike.neurons.kernels.backend import kernels_fit
from mmspike.neurons.kernels.count import MOST_COUNTED_CHANNELS, count_spikes

# The most numbers that wait, and the most sequences of names that are kept apart.
MOST_WAITING, MOST_SEQUENCES = 4096, 64


class SpikeSums:
    """Spikes of one output of neurons, exact. On a CPU a kernel counts all in one pass.

    Args:
        x: What neurons fired ``(N, C, ...)``: multiples of ``spike_value``, not negative.
        spike_value: What one spike is worth.

    Attributes:
        maps: Spikes summed over the channels, float64 ``(N, ...)``; of an ``x`` with one dimension
            over that one.
        total: All spikes, float64, without dimensions.
        active: Number of values that are not 0, float64, without dimensions.
    """

    def __init__(self, x: Tensor, spike_value: float = 1.0) -> None:
        self._x, self._active = x, None
        counted = count_spikes(x, spike_value) if _kernel_takes(x) else None
        if counted is None:
            self.maps = sum_spikes(x, min(1, x.dim() - 1), spike_value)
            self.total = self.maps.sum()
        else:
            self.maps, totals = counted
            self.total, self._active = totals.unbind()

    @property
    def active(self) -> Tensor:
        if self._active is None:
            self._active = count_active(self._x)
        return self._active


def _kernel_takes(x: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    # Of two dimensions there is one column, and torch is faster; more channels could overflow.
    few = x.dim() > 2 and x.numel() > 0 and x.shape[1] <= MOST_COUNTED_CHANNELS
    laid_out = few and x.is_contiguous() and not x.is_neg()
    return laid_out and x.device.type == 'cpu' and kernels_fit(x)


def sum_spikes(x: Tensor, dim: int, spike_value: float = 1.0) -> Tensor:
    """Number of spikes along a dimension, exact, in float64.

    Reading float32 as float64 takes ten times as long. As sums of one channel dimension are far
    below the 2**24 that float32 holds, they can be rounded before anything is added to them. Where
    a spike is worth a power of two, there is nothing to round. Where it is not, half precision has
    errors that add up: each value is rounded.

    Args:
        x: What neurons fired: multiples of ``spike_value``.
        dim: Dimension to sum over.
        spike_value: What one spike is worth.
    """
    power_of_two = math.frexp(spike_value)[0] == 0.5
    half = x.dtype not in (torch.float32, torch.float64)
    if half and not power_of_two:
        x, spike_value = x.float().div_(spike_value).round_(), 1.0
    wide = torch.float32 if half else x.dtype
    sums = (x.sum(dim, dtype=wide) if x.dim() else x).double()
    if spike_value != 1:
        sums = sums / spike_value  # not in place: of no dimensions it is x itself
        if not power_of_two:
            sums.round_()
    return sums


def count_active(x: Tensor) -> Tensor:
    """Number of outputs that are not 0, float64.

    On a CPU count_nonzero takes eight times as long. Flags are added eight at a time, as the bytes
    of one integer, which overflow after 255 additions.
    """
    flags = x.bool()
    if not flags.is_contiguous() and flags.dim() > 2:
        flags = flags.movedim(1, -1)
    flags = flags.reshape(-1)
    whole = flags.numel() // (8 * 255) * (8 * 255)
    groups = flags[:whole].view(torch.int64).view(-1, 255).sum(1)
    active = groups.view(torch.uint8).sum()
    if whole < flags.numel():
        active += flags[whole:].sum()
    return active.double()


class RunningSums:
    """Sums by name of numbers on a device, which is not waited for until they are read.

    An addition of two numbers takes as long as one of a thousand. So numbers wait, and are added
    to the sums of the last time at which the same names came in the same order; a sequence ends
    where its first name comes again. Only where there are very many sequences, sums are read in
    between.
    """

    def __init__(self) -> None:
        self._waiting: dict[torch.device, tuple[list, list[Tensor]]] = {}
        self._sums: dict[tuple, Tensor] = {}
        self._read: dict[Hashable, float] = {}

    def add(self, name: Hashable, number: Tensor, times: int = 1) -> None:
        """Add a number (float64, no dimensions), multiplied by ``times``."""
        keys, _ = self._waiting.get(number.device, ([], []))
        if keys and (keys[0] == (name, times) or len(keys) >= MOST_WAITING):
            self._settle()
        keys, numbers = self._waiting.setdefault(number.device, ([], []))
        keys.append((name, times))
        numbers.append(number)

    def _settle(self) -> None:
        for device, (keys, numbers) in self._waiting.items():
            sequence = (device, *keys)
            sums = torch.stack(numbers)
            self._sums[sequence] = self._sums[sequence] + sums if sequence in self._sums else sums
        self._waiting.clear()
        if len(self._sums) > MOST_SEQUENCES:
            self._collect()

    def _collect(self) -> None:
        for (_, *keys), sums in self._sums.items():
            for (name, times), number in zip(keys, sums.tolist(), strict=True):
                self._read[name] = self._read.get(name, 0.0) + number * times
        self._sums.clear()

    def read(self) -> dict[Hashable, float]:
        """All sums so far. This waits for the device."""
        self._settle()
        self._collect()
        return dict(self._read)

    def clear(self) -> None:
        """Reset all sums."""
        for kept in (self._waiting, self._sums, self._read):
            kept.clear()


__getattr__ = moved_names(__name__, {'Tally': 'recorders.spike_sums:RunningSums'})
