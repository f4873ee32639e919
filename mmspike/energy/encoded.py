"""Spikes as an encoding sends them, and the shifts of its slots.

The number of spikes of an encoding follows from the integers, however a model runs.
"""

from typing import Any

from mmspike.energy.costs import CostTable
from mmspike.energy.counts import EnergyCounts
from mmspike.execution.encodings import THERMOMETER, Encoding
from mmspike.execution.spike_train import SpikeTrain


def as_sent(value: Any, encoding: Encoding) -> Any:
    """The numbers of spikes by which an encoding sends a train; any other value as it is.

    Args:
        value: A train of integers, or whatever else is an argument of a layer.
        encoding: The encoding. The thermometer sends n as n spikes, so that nothing changes.

    Returns:
        A train of the same shape, steps and largest integer, whose spikes are worth 1.
    """
    if encoding is THERMOMETER or not isinstance(value, SpikeTrain):
        return value
    spikes = encoding.spikes(value.counts(), value.max_spikes)
    return SpikeTrain.of(spikes, 1.0, value.max_spikes, value.timesteps)


def shifts_pj(shifts: int, costs: CostTable) -> float:
    """Energy of shifts in pJ; without a cost of its own, a shift costs what an addition does."""
    return shifts * (costs.shift_pj or costs.ac_pj)


def encoding_notes(counts: EnergyCounts, costs: CostTable) -> list[str]:
    """What readers of the numbers have to know about the encoding; nothing of the usual one."""
    if counts.encoding == THERMOMETER.name:
        return []
    shifts = sum(layer.shifts for layer in counts.layers.values())
    return [
        f'Integers are sent by the {counts.encoding} encoding: rates and SOPs count its spikes. '
        f'{shifts / counts.samples:,.0f} shifts per image are in the energies, '
        f'{shifts_pj(1, costs):g} pJ each.'
    ]
