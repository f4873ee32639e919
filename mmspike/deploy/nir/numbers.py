"""Numbers of NIR nodes: arrays of the shape of a map, in seconds; and our own, in time steps."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

# One time step in seconds. spikingjelly and snntorch take the same.
DT = 1e-4
# Two numbers are the same if they differ by less: files often hold float32.
TOLERANCE = 1e-6


def full(shape: tuple[int, ...], value: float) -> np.ndarray:
    """The same number for every neuron of a map, float64 of ``shape``."""
    return np.full(shape, value, dtype=np.float64)


def is_close(a: Any, b: Any) -> bool:
    """Whether two numbers or arrays agree to the precision of float32."""
    return bool(np.allclose(a, b, rtol=TOLERANCE, atol=1e-12))


def uniform(*arrays: Any) -> tuple[float, ...] | None:
    """One number per array, if every array holds the same number everywhere; else None."""
    flat = [np.asarray(array, dtype=np.float64).ravel() for array in arrays]
    if any(array.size == 0 or (array != array[0]).any() for array in flat):
        return None
    return tuple(float(array[0]) for array in flat)


def in_steps(seconds: float, dt: float) -> float:
    """A time constant in time steps.

    It is the number with few digits that gives ``seconds``, if there is one: 3, not
    3.0000000000000004.
    """
    steps = seconds / dt
    short = float(f'{steps:.12g}')
    return short if short * dt == seconds else steps


def to_array(x: Tensor) -> np.ndarray:
    """A copy for a node: float64 stays, every other dtype becomes float32."""
    x = x.detach().cpu()
    return (x if x.dtype == torch.float64 else x.float()).numpy().copy()


def to_tensor(array: Any) -> Tensor:
    """float32 of the same shape; without dimensions if all numbers are the same."""
    same = uniform(array)
    return torch.tensor(same[0]) if same else torch.tensor(np.asarray(array), dtype=torch.float32)
