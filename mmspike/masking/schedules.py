"""Masking ratios over the progress of training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmspike.masking.ratios import Ratio, profile


class Schedule(ABC):
    """Ratios as a function of the epoch, or of the iteration."""

    @abstractmethod
    def at(self, progress: int, layers: int) -> np.ndarray:
        """The ratios ``(layers,)`` of epoch or iteration ``progress``, which count from 0."""


@dataclass(frozen=True)
class Step(Schedule):
    """``ratios[i]`` from ``milestones[i - 1]`` on; one ratio and no milestone is a constant.

    Args:
        ratios: Numbers or profiles over depth, see :func:`mmspike.masking.set_masking`.
        milestones: Epochs or iterations at which the next one begins, one fewer.

    Raises:
        TypeError, ValueError: A ratio is not acceptable, or the milestones do not fit.
    """

    ratios: Sequence[Ratio]
    milestones: Sequence[int] = ()

    def __post_init__(self) -> None:
        for ratio in self.ratios:
            profile(ratio, 1)
        begins = [_check_progress('a milestone', begin) for begin in self.milestones]
        if len(self.ratios) != len(begins) + 1 or sorted(set(begins)) != begins:
            raise ValueError(
                'a masking schedule of steps needs one ratio more than milestones, and milestones '
                f'that go up, got ratios={self.ratios}, milestones={self.milestones}'
            )

    def at(self, progress: int, layers: int) -> np.ndarray:
        passed = sum(progress >= begin for begin in self.milestones)
        return profile(self.ratios[passed], layers)


@dataclass(frozen=True)
class Ramp(Schedule):
    """From ``start`` at ``begin`` to ``stop`` at ``end``, and as it is there before and after.

    Args:
        shape: ``'linear'``, or ``'cosine'`` for half a wave, slow at both ends.
        stop: Number or profile over depth.
        end: Epoch or iteration at which it is reached.
        start: Number or profile over depth.
        begin: Epoch or iteration until which it holds.

    Raises:
        TypeError, ValueError: A ratio is not acceptable, or ``end`` is not after ``begin``.
    """

    shape: str
    stop: Ratio
    end: int
    start: Ratio = 0.0
    begin: int = 0

    def __post_init__(self) -> None:
        for ratio in (self.start, self.stop):
            profile(ratio, 1)
        if _check_progress('begin', self.begin) >= _check_progress('end', self.end):
            raise ValueError(
                f'a masking schedule must end after it begins, got begin={self.begin}, '
                f'end={self.end}'
            )

    def at(self, progress: int, layers: int) -> np.ndarray:
        share = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        if self.shape == 'cosine':
            share = (1 - math.cos(math.pi * share)) / 2
        return (1 - share) * profile(self.start, layers) + share * profile(self.stop, layers)


def read_schedule(value: Ratio | dict) -> Schedule:
    """A schedule from a config.

    Args:
        value: A number or a list (a constant, see :func:`mmspike.masking.set_masking`), or a dict
            whose ``type`` is ``'step'`` (:class:`Step`), ``'linear'`` or ``'cosine'``
            (:class:`Ramp`) and that holds their arguments.

    Raises:
        TypeError, ValueError: It is none of these, or not acceptable.
    """
    if not isinstance(value, dict):
        return Step([value])
    kind, options = value.get('type'), {key: one for key, one in value.items() if key != 'type'}
    try:
        if kind == 'step':
            return Step(**options)
        if kind in ('linear', 'cosine'):
            return Ramp(kind, **options)
    except TypeError as error:
        raise TypeError(f'masking schedule {value}: {error}') from None
    raise ValueError(
        f"a masking schedule has a type of 'step', 'linear' or 'cosine', got {value!r}"
    )


def _check_progress(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f'{name} must be a whole number, got {value!r} ({type(value).__name__})')
    if value < 0:
        raise ValueError(f'{name} must not be negative, got {value}')
    return value
