"""Where samples and time steps stand in the tensors inside of a model.

Nobody says so: a map may be ``(T*B, ...)``, ``(T, B, ...)``, ``(T*B*windows, ...)`` or, behind a
read-out, ``(B, ...)``. It shows in which rows change when one sample is changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axes:
    """The rows of a tensor.

    Attributes:
        leading: How many leading dimensions make the rows.
        samples: Of each row the sample that it belongs to, ``(rows,)``.
        steps: Of each row its time step ``(rows,)``; None where the tensor has no time.
    """

    leading: int
    samples: Tensor
    steps: Tensor | None

    def rows(self, x: Tensor) -> Tensor:
        """View a tensor as ``(rows, numbers)``."""
        return x.flatten(0, self.leading - 1).reshape(len(self.samples), -1)


def find_axes(
    owners: Tensor, timesteps: int, samples: int, *, samples_first: bool = False
) -> Axes | None:
    """Find the axes of a tensor.

    Args:
        owners: For each number the samples that it depends on, as bits; ``(...)`` like the tensor.
        timesteps: T.
        samples: Size B of the batch.
        samples_first: Whether tensors ``(B, T, ...)`` and ``(B*T, ...)`` may occur. Usually they do
            not, and ``(B, C, ...)`` may look like one.

    Returns:
        None, where no known order of rows explains which samples the numbers depend on.
    """
    if owners.dim() == 0:
        return None
    apart = {(timesteps, samples), (samples, timesteps) if samples_first else (timesteps, samples)}
    leading = 2 if tuple(owners.shape[:2]) in apart else 1
    rows = owners.flatten(0, leading - 1)
    bits = torch.zeros(len(rows), dtype=torch.uint8, device=owners.device)
    for sample in range(samples):
        depends = (rows & (1 << sample)).reshape(len(rows), -1).any(1)
        bits |= depends.to(torch.uint8) << sample
    for own, steps in _orders(len(rows), timesteps, samples, samples_first):
        if not (bits & ~(torch.ones_like(bits) << own.to(bits))).any():
            return Axes(leading, own, steps)
    return None


def _orders(
    rows: int, timesteps: int, samples: int, samples_first: bool
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Samples and steps of rows, for every order that fits their number."""
    place = torch.arange(rows)
    if rows % (timesteps * samples) == 0:
        block = rows // (timesteps * samples)
        yield place // block % samples, place // (block * samples)
        if samples_first:
            yield place // (block * timesteps), place // block % timesteps
    if rows % samples == 0:
        yield place // (rows // samples), None
