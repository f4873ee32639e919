"""Firing rates by step and slot as a table."""

import csv
import io
from collections.abc import Iterable

from mmspike.recorders.step_rates import StepRates


def step_rates_csv(rates: Iterable[StepRates]) -> str:
    """One row per layer, time step and slot: share of the neurons that fire there."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(('layer', 'step', 'slot', 'rate'))
    for one in rates:
        for step, slots in enumerate(one.rates.tolist(), 1):
            for slot, rate in enumerate(slots, 1):
                writer.writerow((one.name, step, slot, f'{rate:.6g}'))
    return text.getvalue()
