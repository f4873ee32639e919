"""Encodings: how slots, which hold only few values, carry an integer of a neuron.

An integer n from 0 to D is the sum of its slots, each times the weight of the slot. A layer is
linear, so it runs once per slot; its results, times the weights, add up to its result on integers.
Weights are powers of two, so that this multiplication is a shift and exact.

======================  =========  =========================  ===============  ====================
encoding                values     weights                    n = 7, D = 15    spikes of n
======================  =========  =========================  ===============  ====================
:data:`THERMOMETER`     0, 1       D times 1                  seven times 1    n
:data:`BITWISE`         0, 1       1, 2, 4, ... up to D       1, 1, 1, 0       ones of n in binary
:data:`TERNARY`         -1, 0, 1   1, 2, 4, ... up to 3/2 D   -1, 0, 0, 1, 0   digits of n, not 0
======================  =========  =========================  ===============  ====================

Ternary slots are the digits of the non-adjacent form (G. W. Reitwiesner, Binary Arithmetic,
Advances in Computers 1, 1960): of two digits side by side one is 0. Every integer has one such
form, and no other sum of signed powers of two has fewer terms. Its digits are the differences of
the bits of 3n and of n, one place up, because n = (3n - n) / 2.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoding:
    """A way to send integers from 0 to D as slots.

    Attributes:
        name: Its name, which is that of the execution with it.
        values: All that a slot may hold. Whatever is not 0 is one spike.
        weights: Weights of the slots for a D; the first is 1.
        digit: The slot ``i`` of integers, from a tensor of any integer type and ``i``.
    """

    name: str
    values: tuple[int, ...]
    weights: Callable[[int], tuple[int, ...]]
    digit: Callable[[Tensor, int], Tensor]

    def __reduce__(self) -> tuple:
        # Copies and pickles are the encoding of this name itself.
        return get_encoding, (self.name,)

    def slots(self, counts: Tensor, most: int) -> Iterator[Tensor]:
        """The slots one by one, in the order of :attr:`weights`.

        Args:
            counts: Integers from 0 to ``most``, as floating-point numbers of any shape.
            most: The largest integer D.

        Yields:
            Tensors like ``counts``, of :attr:`values`.
        """
        integers = counts.to(torch.int32)
        for i in range(len(self.weights(most))):
            yield self.digit(integers, i).to(counts.dtype)

    def spikes(self, counts: Tensor, most: int) -> Tensor:
        """The number of spikes that each integer is sent as, in a tensor like ``counts``."""
        total = torch.zeros_like(counts)
        for slot in self.slots(counts, most):
            total += slot.abs()
        return total

    def shifts(self, most: int) -> int:
        """Shifts of every output of a layer: one for each slot of another weight than 1.

        Slots may come in any order. The one of the largest weight first, hardware doubles the sums
        so far before it adds those of the next slot.
        """
        return sum(weight != 1 for weight in self.weights(most))


def _powers_of_two(number: int) -> tuple[int, ...]:
    return tuple(2**i for i in range(number))


def _bit(integers: Tensor, i: int) -> Tensor:
    return (integers >> i) & 1


THERMOMETER = Encoding(
    'spike',
    values=(0, 1),
    weights=lambda most: (1,) * most,
    digit=lambda integers, i: integers > i,
)
BITWISE = Encoding(
    'bitwise',
    values=(0, 1),
    weights=lambda most: _powers_of_two(most.bit_length()),
    digit=_bit,
)
TERNARY = Encoding(
    'ternary',
    values=(-1, 0, 1),
    weights=lambda most: _powers_of_two((3 * most).bit_length() - 1),
    digit=lambda integers, i: _bit(3 * integers, i + 1) - _bit(integers, i + 1),
)
ENCODINGS = {encoding.name: encoding for encoding in (THERMOMETER, BITWISE, TERNARY)}


def get_encoding(name: str) -> Encoding:
    """An encoding by its name.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in ENCODINGS:
        raise ValueError(f'encoding must be one of {tuple(ENCODINGS)}, got {name!r}')
    return ENCODINGS[name]
