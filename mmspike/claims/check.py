"""Checking all claims about a model."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.claims.batch import NAME as BATCH
from mmspike.claims.batch import Influences, check_batch
from mmspike.claims.calls import (
    DETERMINISM,
    NO_LEAK,
    RESET,
    check_calls,
    check_determinism,
    why_unstable,
)
from mmspike.claims.causality import NAME as CAUSALITY
from mmspike.claims.causality import check_causality
from mmspike.claims.claim import NOT_SHOWN, Claim
from mmspike.claims.communication import (
    ADDITIONS,
    SPIKES,
    check_additions,
    check_spikes,
    listen,
)
from mmspike.claims.executions import NAME as BIAS
from mmspike.claims.executions import check_executions
from mmspike.claims.neurons import neurons_of
from mmspike.claims.steps import NAME as STEPS
from mmspike.claims.steps import check_steps
from mmspike.claims.subject import CANNOT_RUN, Subject, call
from mmspike.claims.traces import OtherPathError, Trace
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.wording import some_of

# Their names, in the order of every report.
CLAIMS = (DETERMINISM, NO_LEAK, RESET, BATCH, CAUSALITY, STEPS, SPIKES, ADDITIONS, BIAS)


@dataclass
class ClaimsReport:
    """All claims about one model.

    Attributes:
        name: Name of the model.
        claims: In the order in which they were checked.
        notes: What limits the findings, such as layers that fired nothing.
        origin: What was checked: weights, inputs, dtype.
    """

    name: str
    claims: list[Claim]
    notes: list[str] = field(default_factory=list)
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def broken(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.broken]

    def __getitem__(self, name: str) -> Claim:
        """A claim by its name."""
        return next(claim for claim in self.claims if claim.name == name)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


@torch.no_grad()
@torch.random.fork_rng()
def check_claims(
    model: nn.Module,
    inputs: Tensor,
    *,
    layout: str = 'images',
    timesteps: int = 1,
    run: Callable[[nn.Module, Tensor], Any] = call,
    name: str = 'model',
    progress: Callable[[str], None] = lambda step: None,
) -> ClaimsReport:
    """Check what is claimed of a spiking network, by running it.

    It takes any model of PyTorch, also one without neurons. Everything runs in float64, where the
    model can, because rounding then decides next to no spike; and in evaluation mode, on copies.

    Args:
        model: The model; it is not changed.
        inputs: A batch of two samples or more. Three are better: what mixes two may leave a third.
        layout: How samples and time stand in ``inputs``: ``'images'`` ``(B, ...)``, ``'frames'``
            ``(B, T, ...)``, ``'steps'`` ``(T, B, ...)`` or ``'folded'`` ``(T*B, ...)``.
        timesteps: Number of time steps T that the model runs.
        run: How the model is called; ``model(inputs)`` by default.
        name: Name of the model.
        progress: Called with the name of each step.

    Raises:
        ValueError: ``inputs`` do not have the layout, or hold one sample.

    Example:
        >>> import torch
        >>> from mmspike.neurons import SFA
        >>> net = torch.nn.Sequential(SFA(), torch.nn.Linear(3, 2))
        >>> report = check_claims(net, torch.rand(3, 3))
        >>> report['batch independence'].verdict
        'holds'
    """
    subject = in_double(Subject(model, inputs, layout, timesteps, run))
    progress(DETERMINISM)
    trace = Trace.of(subject, subject.inputs)
    neurons, silent = neurons_of(subject.model, trace)
    determinism = check_determinism(subject, trace)
    progress(NO_LEAK)
    calls = check_calls(subject, trace) if not determinism.broken else ()
    unstable = why_unstable(determinism, *calls)
    claims = [determinism, *(calls or _not_shown(unstable, NO_LEAK, RESET))]
    progress(BATCH)
    claims += _not_shown(unstable, BATCH, CAUSALITY, STEPS) or _by_influence(
        subject, trace, neurons, progress
    )
    progress(SPIKES)
    heard = listen(subject, neurons)
    claims += [check_spikes(heard), check_additions(heard)]
    progress(BIAS)
    claims += _not_shown(unstable, BIAS) or [check_executions(subject)]
    shape = 'x'.join(map(str, inputs.shape))
    origin = dict(
        inputs=f'{shape} ({layout})', T=str(timesteps), neurons=str(len(neurons)),
        dtype=str(subject.inputs.dtype).removeprefix('torch.'),
    )  # fmt: skip
    return ClaimsReport(name, claims, _notes(len(neurons), silent), origin)


def _not_shown(why: str | None, *names: str) -> list[Claim]:
    """Claims that cannot be shown for a reason; none without one."""
    return [Claim(name, NOT_SHOWN, why) for name in names] if why else []


def _by_influence(
    subject: Subject, trace: Trace, neurons: set[str], progress: Callable[[str], None]
) -> list[Claim]:
    """The claims that take many runs with other inputs."""
    try:
        influences = Influences(subject, trace, neurons)
    except OtherPathError as error:
        return _not_shown(str(error), BATCH, CAUSALITY, STEPS)
    claims = [check_batch(influences)]
    for name, check in ((CAUSALITY, check_causality), (STEPS, check_steps)):
        progress(name)
        claims.append(check(influences))
    return claims


def in_double(subject: Subject) -> Subject:
    """The subject in float64, if the model can run in it."""
    if not subject.inputs.is_floating_point():
        return subject
    wide = copy.copy(subject)
    wide.model, wide.inputs = subject.fresh().double(), subject.inputs.double()
    wide.run = partial(_run_without_kernels, subject.run)
    try:
        wide.run(wide.fresh(), wide.inputs)
    except CANNOT_RUN:
        return subject
    return wide


def _run_without_kernels(run: Callable, model: nn.Module, inputs: Tensor) -> Any:
    """Run a model in plain torch: the kernels do not take float64, and would say so."""
    with neuron_backend('reference'):
        return run(model, inputs)


def _notes(neurons: int, silent: list[str]) -> list[str]:
    if not silent:
        return []
    return [
        f'{len(silent)} of {neurons} layers of neurons fired nothing on these inputs, so what '
        f'follows them shows little: {some_of(silent)}'
    ]
