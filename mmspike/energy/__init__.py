"""Energy of spiking and other networks, from operations counted on real data."""

from mmspike.energy.costs import COSTS, CostTable, get_costs
from mmspike.energy.counter import EnergyCounter, UncountedError
from mmspike.energy.counts import EnergyCounts, LayerCount, NeuronCount
from mmspike.energy.memory import MemoryModel
from mmspike.energy.origin import Origin
from mmspike.energy.report import EnergyReport, LayerEnergy, NeuronRate, Totals

__all__ = [
    'COSTS',
    'CostTable',
    'EnergyCounter',
    'EnergyCounts',
    'EnergyReport',
    'LayerCount',
    'LayerEnergy',
    'MemoryModel',
    'NeuronCount',
    'NeuronRate',
    'Origin',
    'Totals',
    'UncountedError',
    'get_costs',
]
