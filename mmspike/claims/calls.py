"""Whether one call of a model depends on chance, or on calls before it."""

from collections.abc import Callable

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import nn

from mmspike.claims.claim import BROKEN, HOLDS, Claim, Place
from mmspike.claims.subject import CANNOT_RUN, Subject, reason
from mmspike.claims.traces import Trace

DETERMINISM, NO_LEAK, RESET = 'determinism', 'no leak between calls', 'state reset'
OUTSIDE = 'state is kept outside of the model (in a global or a closure)'


def check_determinism(subject: Subject, trace: Trace) -> Claim:
    """Determinism: the same input gives the same answer, whatever the seed."""
    places = _first_difference(subject, trace, lambda model: torch.manual_seed(12345))
    if isinstance(places, str):
        return Claim(DETERMINISM, BROKEN, places)
    if places:
        finding = 'the same input gives another answer: by chance, or by state outside of the model'
        return Claim(DETERMINISM, BROKEN, finding, places)
    return Claim(DETERMINISM, HOLDS, 'the same input twice, with two seeds: the same to the bit')


def check_calls(subject: Subject, trace: Trace) -> tuple[Claim, Claim]:
    """No leak: a call leaves nothing to the next. Reset: what it leaves can be removed.

    What a reset removes is a state that is kept on purpose, and no leak.
    """

    def call_before(model: nn.Module) -> None:
        with torch.no_grad():
            subject.run(model, subject.other(0))

    places = _first_difference(subject, trace, call_before)
    if not places:
        nothing = Claim(NO_LEAK, HOLDS, 'a call after another input: the same to the bit')
        return nothing, Claim(RESET, HOLDS, 'there is nothing to reset')

    def reset_before(model: nn.Module) -> None:
        call_before(model)
        reset_net(model)

    outside = _first_difference(subject, trace, lambda model: call_before(subject.fresh()))
    if outside:
        found = _described(f'{OUTSIDE}: a call depends on calls of other copies', outside)
        return Claim(NO_LEAK, BROKEN, *found), Claim(RESET, BROKEN, *found)
    left = _first_difference(subject, trace, reset_before)
    if not left:
        kept = 'a call goes on from the state of the call before, until reset_net(model)'
        reset = "after spikingjelly's functional.reset_net(model) nothing is left"
        return Claim(NO_LEAK, HOLDS, *_described(kept, places)), Claim(RESET, HOLDS, reset)
    finding = 'a call depends on the calls before it'
    leak = Claim(NO_LEAK, BROKEN, *_described(finding, places))
    finding = "spikingjelly's functional.reset_net(model) leaves something of the calls before"
    return leak, Claim(RESET, BROKEN, *_described(finding, left))


def why_unstable(*claims: Claim) -> str | None:
    """Why runs of one input cannot be compared; None if they can.

    Args:
        claims: Determinism, and what :func:`check_calls` found.
    """
    if claims[0].broken:
        return 'the model is not deterministic'
    return OUTSIDE if any(claim.finding.startswith(OUTSIDE) for claim in claims) else None


def _described(finding: str, places: tuple[Place, ...] | str) -> tuple:
    return (f'{finding}: {places}',) if isinstance(places, str) else (finding, places)


def _first_difference(
    subject: Subject, trace: Trace, before: Callable[[nn.Module], object]
) -> tuple[Place, ...] | str:
    """The first module that differs after ``before``, or why the run went another way."""
    try:
        for place, _ in trace.differences(subject, subject.inputs, before):
            return (Place(trace.moments[place].culprit),)
    except CANNOT_RUN as error:
        return reason(error)
    return ()
