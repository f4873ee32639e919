"""Spikes as an encoding sends them: their numbers follow from the integers."""

from typing import Any

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
