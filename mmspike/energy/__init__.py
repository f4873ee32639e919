"""Energy of spiking and other networks, from operations counted on real data."""

from mmspike.energy.costs import COSTS, CostTable, get_costs
from mmspike.energy.counter import EnergyCounter, UncountedError
from mmspike.energy.counts import EnergyCounts, LayerCount, NeuronCount
from mmspike.energy.files import write_report
from mmspike.energy.memory import MemoryModel
from mmspike.energy.origin import Origin
from mmspike.energy.report import EnergyReport
from mmspike.energy.rows import LayerEnergy, NeuronRate, Totals

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
    'write_report',
]
