"""Whether what a model computes at a step depends on later steps."""

from torch import Tensor

from mmspike.claims.batch import Influences
from mmspike.claims.claim import BROKEN, HOLDS, NOT_SHOWN, Claim, Place
from mmspike.claims.subject import other_content
from mmspike.claims.traces import MODEL, Moment, OtherPathError

NAME = 'causality'


def check_causality(influences: Influences) -> Claim:
    """Causality: up to a step, nothing depends on what comes in later.

    Frames are changed from some step on. Images are the same at all steps: there, what the first
    neurons take is changed.
    """
    subject = influences.subject
    steps = subject.timesteps
    if steps == 1:
        return Claim(NAME, NOT_SHOWN, 'there is one time step')
    change = None if subject.has_frames else _Injection(influences)
    if change is not None and not change.layers:
        return Claim(NAME, NOT_SHOWN, 'no neuron with time steps in its input was found')
    if not _has_steps(influences):
        return Claim(NAME, NOT_SHOWN, 'no map with time steps was found')
    for begin in sorted({1, steps // 2, steps - 1}):
        inputs = subject.other(0, from_step=begin) if change is None else subject.inputs
        if change is not None:
            change.begin = begin
        try:
            places = _too_early(influences, inputs, change, begin)
        except OtherPathError as error:
            return Claim(NAME, NOT_SHOWN, str(error))
        if places:
            finding = f'what is computed at a step depends on what comes in later (step {begin})'
            return Claim(NAME, BROKEN, finding, tuple(places))
    where = 'frames' if change is None else f'the input of {change.layers[0]}'
    return Claim(NAME, HOLDS, f'{where} changed from a step on: all before stays the same')


def _has_steps(influences: Influences) -> bool:
    """Whether a module puts out something whose steps are known."""
    return any(
        axes is not None and axes.steps is not None
        for place, moment in enumerate(influences.trace.moments)
        if moment.done and moment.layer != MODEL
        for axes in (influences.axes(place, number) for number in range(len(moment.tensors)))
    )


def _too_early(
    influences: Influences, inputs: Tensor, change: '_Injection | None', begin: int
) -> list[Place]:
    """The first module that puts something else out at a step before ``begin``."""
    trace = influences.trace
    for place, masks in trace.differences(influences.subject, inputs, change=change):
        for number, mask in enumerate(masks):
            axes = influences.axes(place, number)
            if axes is None or axes.steps is None:
                continue
            early = axes.rows(mask).any(1) & (axes.steps < begin)
            if early.any():
                row = int(early.nonzero()[0])
                layer = trace.moments[place].culprit
                return [Place(layer, int(axes.steps[row]), int(axes.samples[row]))]
    return []


class _Injection:
    """Gives the first layer of neurons other inputs from a step on."""

    def __init__(self, influences: Influences) -> None:
        self.begin = 1
        self.layers: list[str] = []
        for place, moment in enumerate(influences.trace.moments):
            if moment.done or moment.layer not in influences.neurons or len(moment.tensors) != 1:
                continue
            axes = influences.axes(place, 0)
            if axes is not None and axes.steps is not None and axes.time is None:
                self._axes = axes
                self.layers = [moment.layer]
                return

    def __call__(self, moment: Moment) -> tuple | None:
        if moment.done or moment.layer not in self.layers:
            return None
        x = moment.tensors[0].clone()
        late = self._axes.steps >= self.begin  # type: ignore[operator]  # chosen for its steps
        rows = self._axes.rows(x)
        rows[late] = other_content(rows[late], 0)
        return (rows.view(x.shape),)
