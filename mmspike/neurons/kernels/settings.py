"""What a kernel is told about its neurons, beside the tensors."""

import math
from typing import NamedTuple

import torch

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# How the membrane of a binary neuron leaks: IF, LIF, and PLIF, numbered as in neuron_steps.h.
NO_LEAK, DIVIDE, MULTIPLY = 0, 1, 2
# Numbered as in neuron_steps.h.
SURROGATES = {'sigmoid': 0, 'atan': 1, 'rectangular': 2, 'triangular': 3}


class BinarySettings(NamedTuple):
    """IF, LIF or PLIF. ``tau`` is for ``DIVIDE``; ``MULTIPLY`` has the learned decay instead."""

    leak: int
    tau: float
    decay_input: bool
    threshold: float
    v_reset: float | None
    detach_reset: bool
    surrogate: str
    alpha: float

    def charge(self) -> tuple[int, float]:
        """How to leak, and by which constant: without a division where that changes no bit."""
        mantissa, _ = math.frexp(self.tau)
        if self.leak == DIVIDE and mantissa == 0.5:  # a power of two
            return MULTIPLY, 1 / self.tau
        return self.leak, self.tau


class IntegerSettings(NamedTuple):
    """SFA or I-LIF; ``decay`` and ``detach_reset`` are for I-LIF."""

    D: int
    norm: float
    rounding: str
    grad_window: str
    decay: float = 0.0
    detach_reset: bool = True

    @property
    def half_up(self) -> bool:
        return self.rounding == 'half_up'

    @property
    def strict(self) -> bool:
        return self.grad_window == 'strict'
