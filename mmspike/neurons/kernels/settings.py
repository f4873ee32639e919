"""The settings of neurons that a kernel takes besides the tensors."""

import math
from typing import NamedTuple, get_type_hints

import torch

from mmspike.neurons.reference import INITIAL_CHARGE

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# How the membrane of a binary neuron leaks: IF, LIF, PLIF; and SpikingQCFS, an IF in units of its
# learned threshold. Numbered as in neuron_steps.h.
NO_LEAK, DIVIDE, MULTIPLY, SCALE = 0, 1, 2, 3
LEAKS = (NO_LEAK, DIVIDE, MULTIPLY, SCALE)
# Those whose constant is a learned number.
LEARNED_LEAKS = (MULTIPLY, SCALE)
# Numbered as in neuron_steps.h.
SURROGATES = {'sigmoid': 0, 'atan': 1, 'rectangular': 2, 'triangular': 3}
# Kernels round by adding a large float32, which is exact up to here.
LARGEST_INTEGER = 1 << 22


class BinarySettings(NamedTuple):
    """IF, LIF, PLIF or SpikingQCFS.

    ``tau`` is for ``DIVIDE``; ``MULTIPLY`` has the learned decay instead, and ``SCALE`` the learned
    threshold, beside which ``threshold`` is 1.
    """

    leak: int
    threshold: float
    v_reset: float | None
    detach_reset: bool
    surrogate: str
    alpha: float
    tau: float = 1.0
    decay_input: bool = False

    @property
    def rest(self) -> float:
        """The membrane to start from where none is given."""
        return INITIAL_CHARGE if self.leak == SCALE else self.v_reset or 0.0

    def charge(self) -> tuple[int, float]:
        """The kind of leak and its constant, without a division if no bit changes."""
        mantissa, _ = math.frexp(self.tau)
        if self.leak == DIVIDE and mantissa == 0.5:  # a power of two
            return MULTIPLY, 1 / self.tau
        return self.leak, self.tau


class IntegerSettings(NamedTuple):
    """SFA, which has the fields of :data:`NO_MEMORY`, or I-LIF, which has all."""

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


# Fields that a neuron without memory has. Every argument of an operator costs time.
NO_MEMORY = slice(4)
_SCHEMA_TYPES = {int: 'int', float: 'float', bool: 'bool', str: 'str', float | None: 'float?'}


def schema_of(settings: type[NamedTuple], fields: slice = slice(None)) -> str:
    """Arguments of an operator, in the language of torch's schemas, that the settings become.

    >>> schema_of(IntegerSettings)
    'int D, float norm, str rounding, str grad_window, float decay, bool detach_reset'
    """
    hints = get_type_hints(settings)
    return ', '.join(f'{_SCHEMA_TYPES[hints[name]]} {name}' for name in settings._fields[fields])
