"""Spiking neurons, registered as models: ``dict(type='mmspike.LIF', tau=2.0)``."""

from mmspike.neurons.base import BaseNeuron, NeuronMismatchError, set_stateful
from mmspike.neurons.ilif import ILIF
from mmspike.neurons.integer import IntegerNeuron, set_largest_integer
from mmspike.neurons.integrate_and_fire import IF
from mmspike.neurons.lif import LIF
from mmspike.neurons.plif import PLIF
from mmspike.neurons.qcfs import QCFS
from mmspike.neurons.records import RecordError
from mmspike.neurons.sfa import SFA
from mmspike.neurons.spiking_qcfs import SpikingQCFS

__all__ = [
    'IF',
    'ILIF',
    'LIF',
    'PLIF',
    'QCFS',
    'SFA',
    'BaseNeuron',
    'IntegerNeuron',
    'NeuronMismatchError',
    'RecordError',
    'SpikingQCFS',
    'set_largest_integer',
    'set_stateful',
]
