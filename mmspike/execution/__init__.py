"""Execution of a trained model on integers, or on binary spikes with the same weights."""

from mmspike.execution.check import LayerInput, SpikeDrivenError, check_spike_driven
from mmspike.execution.compare import ROUNDING_NOTE, LayerDifference, compare_executions
from mmspike.execution.compiled import CompiledError
from mmspike.execution.spike_driven import (
    EXECUTIONS,
    SpikeDriven,
    get_execution,
    set_execution,
)
from mmspike.execution.spike_flow import SpikeFlow
from mmspike.execution.spike_train import SpikeTrain

__all__ = [
    'EXECUTIONS',
    'ROUNDING_NOTE',
    'CompiledError',
    'LayerDifference',
    'LayerInput',
    'SpikeDriven',
    'SpikeDrivenError',
    'SpikeFlow',
    'SpikeTrain',
    'check_spike_driven',
    'compare_executions',
    'get_execution',
    'set_execution',
]
