"""Where time stands in the tensors inside of a model: in the size that changes with T.

A model that calls its layers once per step has no time in its tensors: there, the number of calls
changes with T.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from torch import Size

from mmspike.claims.subject import CANNOT_RUN, Subject
from mmspike.claims.traces import Moment, Trace, follow


@dataclass(frozen=True)
class TimeAxis:
    """Where time stands in a tensor.

    Attributes:
        known: Whether it showed.
        place: Dimension that holds time, perhaps with samples and more; None if none does.
        step: The step of all numbers, where a module is called once per step.
    """

    known: bool
    place: int | None = None
    step: int | None = None


UNKNOWN = TimeAxis(False)


def find_time(subject: Subject, trace: Trace) -> list[list[TimeAxis]]:
    """The time axes of all tensors of a run, by a run with one step less."""
    unknown = [[UNKNOWN] * len(moment.tensors) for moment in trace.moments]
    if subject.timesteps == 1:
        return unknown
    shorter: dict[tuple[str, bool], list[list[Size]]] = defaultdict(list)

    def keep(moment: Moment) -> None:
        shorter[moment.layer, moment.done].append([x.shape for x in moment.tensors])

    try:
        model, inputs = subject.with_steps(subject.timesteps - 1)
        follow(model, lambda: subject.run(model, inputs), keep)
    except CANNOT_RUN:
        return unknown
    numbers = Counter((moment.layer, moment.done) for moment in trace.moments)
    calls: Counter[tuple[str, bool]] = Counter()
    found = []
    for moment in trace.moments:
        key = moment.layer, moment.done
        others, number, call = shorter[key], numbers[key], calls[key]
        calls[key] += 1
        if _grow(number, len(others), subject.timesteps):
            step = call * subject.timesteps // number
            found.append([TimeAxis(True, step=step)] * len(moment.tensors))
            continue
        shapes = others[call] if number == len(others) else []
        axes = [
            _axis(x.shape, other, subject.timesteps)
            for x, other in zip(moment.tensors, shapes, strict=False)
        ]
        found.append(axes + [UNKNOWN] * (len(moment.tensors) - len(axes)))
    changed = any(axis != TimeAxis(True) for axes in found for axis in axes)
    return found if changed else unknown


def _grow(size: int, shorter: int, timesteps: int) -> bool:
    """Whether a number grows with the number of steps, as T does."""
    return size != shorter and size * (timesteps - 1) == shorter * timesteps


def _axis(shape: Size, shorter: Size, timesteps: int) -> TimeAxis:
    if shape == shorter:
        return TimeAxis(True)
    places = [place for place, (a, b) in enumerate(zip(shape, shorter, strict=False)) if a != b]
    if len(shape) != len(shorter) or len(places) > 1:
        return UNKNOWN
    (place,) = places
    return TimeAxis(True, place) if _grow(shape[place], shorter[place], timesteps) else UNKNOWN
