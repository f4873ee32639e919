"""The cost of integer arithmetic by its bit width."""

from dataclasses import dataclass

import numpy as np

from mmspike.checks import check_integer


@dataclass(frozen=True)
class IntegerCosts:
    """Energy of additions and multiplications of integers, in picojoules (pJ).

    An adder of n bits is n cells. A multiplier of a x b bits is an array of a*b cells, so that its
    energy is that of 8 x 8 bits times ``a*b / 64``; the source measured 3.1 pJ at 32 x 32 bits,
    where this rule says 3.2.

    Attributes:
        name: Name of the table.
        adds: Bits and pJ of additions; in between it is interpolated linearly, and below the first
            in proportion to the bits.
        mul_8x8_pj: pJ of a multiplication of two 8-bit integers.
        source: Where the numbers are from.
    """

    name: str
    adds: tuple[tuple[int, float], ...]
    mul_8x8_pj: float
    source: str

    def add_pj(self, bits: int) -> float:
        """PJ of one addition."""
        widths, energies = zip((0, 0.0), *self.adds, strict=True)
        return float(np.interp(bits, widths, energies))

    def mul_pj(self, bits: int, other_bits: int) -> float:
        """PJ of one multiplication of integers of these widths."""
        return self.mul_8x8_pj * bits * other_bits / 64


HOROWITZ_INTEGERS = IntegerCosts(
    'horowitz2014',
    adds=((8, 0.03), (16, 0.05), (32, 0.1)),
    mul_8x8_pj=0.2,
    source='integers at 45 nm and 0.9 V: additions of 8, 16 and 32 bits 0.03, 0.05 and 0.1 pJ, a '
    'multiplication of 8 bits 0.2 pJ, of 32 bits 3.1 pJ. M. Horowitz, ISSCC 2014. Other widths: in '
    'proportion to the product of both widths, as in H. Sharma et al., Bit Fusion, ISCA 2018',
)


def bits_of(levels: int) -> int:
    """Bits of an integer from 0 to ``levels``: ``ceil(log2(levels + 1))``.

    Raises:
        TypeError, ValueError: ``levels`` is no positive integer.
    """
    return check_integer('levels', levels, at_least=1).bit_length()
