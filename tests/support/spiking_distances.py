"""How far spiking MST is from the quantised network on the reference cases."""

import numpy as np

from support.parity import measure
from support.reference_cases import Case

STEPS = (1, 4, 16, 64)
READOUTS = ('cumulative_mean', 'norm_after_averaging')


def distances(name: str) -> dict[str, list[float]]:
    """Mean absolute distance from the quantised network's logits after :data:`STEPS` steps."""
    return mean_gaps(name, measure(name))


def reference_distances(name: str) -> dict[str, list[float]]:
    """The same of the reference's spiking network."""
    return mean_gaps(name, Case.load(name).quantities())


def mean_gaps(name: str, quantities: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Mean absolute distances of a spiking network's outputs, by read-out."""
    quantised = Case.load(name).numbers['qcfs_logits']
    gaps = {readout: quantities[f'{readout}, all steps'] - quantised for readout in READOUTS}
    return {
        readout: [float(np.abs(gap[steps - 1]).mean()) for steps in STEPS]
        for readout, gap in gaps.items()
    }
