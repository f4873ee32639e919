"""Where samples and time steps stand in the tensors inside of a model.

Nobody says so: a map may be ``(T*B, ...)``, ``(B*T, ...)``, ``(T, B, ...)``, ``(B, C, T, ...)``,
``(T*B*windows, ...)`` or, behind a read-out, ``(B, ...)``. Samples show in which rows change when
one sample is changed; time shows in which size changes with T, see :mod:`mmspike.claims.sizes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmspike.claims.sizes import TimeAxis


@dataclass(frozen=True)
class Axes:
    """The rows of a tensor.

    Attributes:
        leading: How many leading dimensions make the rows, once ``time`` stands second.
        samples: Of each row the sample that it belongs to, ``(rows,)``.
        steps: Of each row its time step ``(rows,)``; None where the tensor has no time.
        time: A dimension of time alone that stands behind the samples.
        sure: Whether no other order of the rows explains which samples the numbers depend on.
    """

    leading: int
    samples: Tensor
    steps: Tensor | None
    time: int | None
    sure: bool

    def rows(self, x: Tensor) -> Tensor:
        """The numbers ``(rows, numbers)``, of a batch of any size."""
        rows = _rows(x, self.time, self.leading)
        return rows.reshape(len(rows), -1)

    def chosen(self, x: Tensor, samples: list[int]) -> Tensor:
        """The rows that a batch of these samples, in this order, would have, ``(rows, numbers)``.

        Args:
            x: The tensor.
            samples: Numbers of samples, each once.
        """
        everyone = range(int(self.samples.max()) + 1)
        places = torch.stack([(self.samples == sample).nonzero()[:, 0] for sample in everyone])
        order = places[: len(samples)].flatten().argsort()
        return self.rows(x)[places[samples].flatten()[order]]


def _rows(x: Tensor, time: int | None, leading: int) -> Tensor:
    return (x if time is None else x.movedim(time, 1)).flatten(0, leading - 1)


def find_axes(owners: Tensor, timesteps: int, samples: int, time: TimeAxis) -> Axes | None:
    """Find the axes of a tensor.

    Args:
        owners: For each number the samples that it depends on, as bits; ``(...)`` like the tensor.
        timesteps: T.
        samples: Size B of the batch.
        time: Where time stands, as far as it is known. Otherwise it may stand before the samples
            alone, because ``(B, C, ...)`` looks like ``(B, T, ...)``.

    Returns:
        None, where no known order of rows explains which samples the numbers depend on.
    """
    if owners.dim() == 0:
        return None
    behind = time.place if time.place and owners.shape[time.place] == timesteps else None
    first = (owners if behind is None else owners.movedim(behind, 1)).shape[:2]
    apart = {(timesteps, samples)} if behind is None else {(samples, timesteps)}
    leading = 2 if tuple(first) in apart else 1
    in_rows = behind is not None or time.place == 0
    if behind is not None and leading == 1:
        return None
    rows = _rows(owners, behind, leading)
    bits = torch.zeros(len(rows), dtype=torch.uint8, device=owners.device)
    for sample in range(samples):
        depends = (rows & (1 << sample)).reshape(len(rows), -1).any(1)
        bits |= depends.to(torch.uint8) << sample
    major = (in_rows or not time.known) and behind is None
    fitting = [
        (own, steps)
        for own, steps in _orders(len(rows), timesteps, samples, major, in_rows, not in_rows)
        if not (bits & ~(torch.ones_like(bits) << own.to(bits))).any()
    ]
    if not fitting:
        return None
    own, steps = fitting[0]
    if time.step is not None:
        steps = torch.full_like(own, time.step)
    sure = all(torch.equal(own, other) for other, _ in fitting)
    return Axes(leading, own, steps, behind, sure)


def _orders(
    rows: int, timesteps: int, samples: int, time_first: bool, samples_first: bool, timeless: bool
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Samples and steps of rows, for every order that may be and fits their number."""
    place = torch.arange(rows)
    if rows % (timesteps * samples) == 0:
        block = rows // (timesteps * samples)
        if time_first:
            yield place // block % samples, place // (block * samples)
        if samples_first:
            yield place // (block * timesteps), place // block % timesteps
    if timeless and rows % samples == 0:
        yield place // (rows // samples), None
