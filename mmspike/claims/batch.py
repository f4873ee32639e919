"""Whether the answer for a sample depends on the other samples of its batch."""

import torch
from torch import Tensor

from mmspike.claims.axes import Axes, find_axes
from mmspike.claims.claim import BROKEN, HOLDS, NOT_SHOWN, Claim, Place
from mmspike.claims.gaps import Gap, gap_between
from mmspike.claims.sizes import UNKNOWN, TimeAxis, find_time
from mmspike.claims.subject import CANNOT_RUN, Subject, reason
from mmspike.claims.traces import Moment, Trace, follow

NAME = 'batch independence'
VARIANTS = 2


class Influences:
    """Which samples each number inside of a model depends on.

    One sample after the other gets other content; the numbers that change depend on it. The sizes
    stay the same, and with them the order of all additions, so that numbers of other samples stay
    the same to the last bit.

    Args:
        subject: The model.
        trace: The run that the others are compared with.
        neurons: Names of the layers of neurons.

    Attributes:
        owners: For each moment and tensor, bits of samples.
        time: For each moment and tensor, where time stands.

    Raises:
        OtherPathError: With other samples the model ran other modules.
    """

    def __init__(self, subject: Subject, trace: Trace, neurons: set[str]) -> None:
        self.subject, self.trace, self.neurons = subject, trace, neurons
        self.time = find_time(subject, self.trace)
        self.owners = [
            [torch.zeros(x.shape, dtype=torch.uint8, device=x.device) for x in moment.tensors]
            for moment in self.trace.moments
        ]
        for sample in range(subject.samples):
            for variant in range(VARIANTS):
                inputs = subject.other(variant, sample)
                for place, masks in self.trace.differences(subject, inputs):
                    for owner, mask in zip(self.owners[place], masks, strict=True):
                        owner |= mask.to(torch.uint8) << sample

    def axes(self, place: int, number: int) -> Axes | None:
        """Where samples and steps stand in a tensor."""
        owners, time = self.owners[place][number], self.time[place][number]
        axes = self._axes_of(owners, time)
        if axes is None and time.known:  # a model may have taken samples for the steps it lacked
            axes = self._axes_of(owners, UNKNOWN)
        if axes is None and time.known:  # behind what mixes samples, time is where it was
            axes = self._axes_of(torch.where(several(owners), 0, owners), time)
        return axes

    def _axes_of(self, owners: Tensor, time: TimeAxis) -> Axes | None:
        return find_axes(owners, self.subject.timesteps, self.subject.samples, time)

    def mixed(self) -> list[Place]:
        """The first module that mixes samples."""
        for moment, *known in zip(self.trace.moments, self.owners, self.time, strict=True):
            for owner, time in zip(*known, strict=True):
                if several(owner).any():
                    return [self._place(moment.culprit, owner, time)]
        return []

    def _place(self, layer: str, owner: Tensor, time: TimeAxis) -> Place:
        """The first number that depends on several samples, in the order of time and batch."""
        mixed = several(owner)
        axes = self._axes_of(torch.where(mixed, 0, owner), time)
        if axes is None:
            return Place(layer)
        row = int(axes.rows(mixed).any(1).nonzero()[0])
        step = None if axes.steps is None else int(axes.steps[row])
        return Place(layer, step, int(axes.samples[row]))


def several(owners: Tensor) -> Tensor:
    """Which numbers depend on more than one sample."""
    return (owners & (owners - 1)) != 0


def check_batch(influences: Influences) -> Claim:
    """Batch independence: other samples, their order and their number do not matter."""
    subject = influences.subject
    places = influences.mixed()
    if places:
        return Claim(
            NAME, BROKEN, 'an answer depends on which other samples are in the batch', tuple(places)
        )
    wrong = _other_orders(influences)
    if wrong is not None:
        return wrong
    return Claim(
        NAME,
        HOLDS,
        f'{subject.samples} samples in other company, in other orders and alone: the same answers',
    )


def _other_orders(influences: Influences) -> Claim | None:
    """Run the samples in another order and one by one; None if all answers stay the same."""
    subject = influences.subject
    everyone = list(range(subject.samples))
    for chosen, how in (
        (everyone[::-1], 'on the order of the samples'),
        *(([one], 'on the number of samples in the batch') for one in everyone),
    ):
        try:
            gap = _first_gap(influences, chosen)
        except CANNOT_RUN as error:
            return Claim(
                NAME, NOT_SHOWN, f'a batch of {len(chosen)} cannot be run: {reason(error)}'
            )
        if gap is not None and not gap.tie:
            return Claim(NAME, BROKEN, f'an answer depends {how}', (Place(gap.layer),))
    return None


def _pair(
    influences: Influences, place: int, number: int, theirs: Tensor, chosen: list[int]
) -> tuple[Tensor, Tensor] | None:
    """What should be the same with these samples alone; None if it is not known."""
    mine = influences.trace.moments[place].tensors[number]
    if not influences.owners[place][number].any():
        return (mine, theirs) if mine.shape == theirs.shape else None
    axes = influences.axes(place, number)
    if axes is None or not axes.sure:
        return None
    return axes.chosen(mine, chosen), axes.rows(theirs)


def _first_gap(influences: Influences, chosen: list[int]) -> Gap | None:
    """The first module that does something else to the samples in another batch."""
    subject, moments = influences.subject, influences.trace.moments
    found: list[Gap] = []
    place = 0

    def compare(moment: Moment) -> None:
        nonlocal place
        if found:
            return
        if place >= len(moments) or moments[place].layer != moment.layer:
            found.append(Gap(moment.around, False))
            return
        for number, x in enumerate(moment.tensors[: len(moments[place].tensors)]):
            pair = _pair(influences, place, number, x, chosen)
            gap = pair and gap_between(moment, *pair, influences.neurons)
            if gap:
                found.append(gap)
                return
        place += 1

    model = subject.fresh()
    follow(model, lambda: subject.run(model, subject.taken(chosen)), compare)
    return found[0] if found else None
