"""A claim about a model, and what was found."""

from dataclasses import dataclass

HOLDS, BROKEN, NOT_SHOWN = 'holds', 'broken', 'not shown'


@dataclass(frozen=True)
class Place:
    """Where a claim breaks first.

    Attributes:
        layer: Name of the module; ``'(model)'`` of the model's own code.
        step: Time step from 0; None where it is not known or does not matter.
        sample: Place in the batch from 0; None as above.
    """

    layer: str
    step: int | None = None
    sample: int | None = None

    def __str__(self) -> str:
        parts = [self.layer]
        if self.step is not None:
            parts.append(f'step {self.step}')
        if self.sample is not None:
            parts.append(f'sample {self.sample}')
        return ', '.join(parts)


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        name: Short name, such as ``'batch independence'``.
        verdict: ``'holds'``, ``'broken'`` or ``'not shown'``.
        finding: What was done and found, in a sentence.
        places: Where it breaks, the first place first.
    """

    name: str
    verdict: str
    finding: str
    places: tuple[Place, ...] = ()

    @property
    def broken(self) -> bool:
        return self.verdict == BROKEN
