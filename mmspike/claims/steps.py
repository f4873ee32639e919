"""What the number of time steps changes."""

from typing import TypeGuard

import torch
from torch import Tensor

from mmspike.claims.axes import Axes
from mmspike.claims.batch import Influences
from mmspike.claims.claim import BROKEN, HOLDS, NOT_SHOWN, Claim, Place
from mmspike.claims.gaps import Gap, gap_between
from mmspike.claims.subject import CANNOT_RUN, reason
from mmspike.claims.traces import Moment, follow

NAME = 'other numbers of steps'


def check_steps(influences: Influences) -> Claim:
    """T scaling: the first steps of a long run equal those of a short one.

    The finding says as well whether the steps of the inputs that were given are all alike.
    """
    subject = influences.subject
    if not subject.temporal and (subject.timesteps == 1 or not subject.has_frames):
        return Claim(NAME, NOT_SHOWN, 'it is not known how the number of steps is changed')
    steps = subject.timesteps - 1 if subject.timesteps > 1 else 2
    try:
        gap, compared = _first_gap(influences, steps)
    except CANNOT_RUN as error:
        return Claim(NAME, NOT_SHOWN, f'T={steps} cannot be run: {reason(error)}')
    if not compared:
        return Claim(NAME, NOT_SHOWN, 'no map with time steps was found')
    if gap is not None and not gap.tie:
        finding = f'a step of a run with T={subject.timesteps} differs from that with T={steps}'
        return Claim(NAME, BROKEN, finding, (Place(gap.layer),))
    finding = f'the steps of runs with T={subject.timesteps} and T={steps} agree'
    if subject.timesteps > 1 and _all_alike(influences):
        finding += '; on these inputs every step computes the same, so that one would do'
    return Claim(NAME, HOLDS, finding)


def _first_gap(influences: Influences, steps: int) -> tuple[Gap | None, int]:
    """The first module that does something else in a run of so many steps; and how many agreed."""
    subject, moments = influences.subject, influences.trace.moments
    both = min(steps, subject.timesteps)
    found: list[Gap] = []
    place = compared = 0

    def compare(moment: Moment) -> None:
        nonlocal place, compared
        # A model that calls its layers once per step calls them less often or more often.
        if found or place >= len(moments) or moments[place].layer != moment.layer:
            return
        for number, (mine, theirs) in enumerate(
            zip(moments[place].tensors, moment.tensors, strict=False)
        ):
            axes = influences.axes(place, number)
            if mine.shape == theirs.shape or not _time_first(axes, subject.timesteps):
                continue
            ends = (mine, subject.timesteps), (theirs, steps)
            short, long = (_first_rows(x, axes, total, both) for x, total in ends)
            compared += 1
            gap = gap_between(moment, short, long, influences.neurons)
            if gap is not None:
                found.append(gap)
                return
        place += 1

    model, inputs = subject.with_steps(steps)
    follow(model, lambda: subject.run(model, inputs), compare)
    return (found[0] if found else None), compared


def _time_first(axes: Axes | None, timesteps: int) -> TypeGuard[Axes]:
    """Whether the rows hold all steps, one after the other."""
    if axes is None or axes.steps is None:
        return False
    ends = axes.steps[[0, -1]].tolist()
    return ends == [0, timesteps - 1] and bool((axes.steps.diff() >= 0).all())


def _first_rows(x: Tensor, axes: Axes, total: int, steps: int) -> Tensor:
    """The rows that belong to the first of ``total`` steps."""
    rows = x.flatten(0, axes.leading - 1)
    return rows[: len(rows) * steps // total]


def _all_alike(influences: Influences) -> bool:
    """Whether all layers of neurons fire the same at every step."""
    subject = influences.subject
    for place, moment in enumerate(influences.trace.moments):
        if not moment.done or moment.layer not in influences.neurons:
            continue
        for number, x in enumerate(moment.tensors):
            axes = influences.axes(place, number)
            if not _time_first(axes, subject.timesteps):
                continue
            by_step = axes.rows(x).unflatten(0, (subject.timesteps, -1))
            if not torch.equal(by_step, by_step[:1].expand_as(by_step)):
                return False
    return True
