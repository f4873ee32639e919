"""Energy of spiking and other networks, from operations counted on real data."""

from mmspike.energy.bit_costs import IntegerCosts
from mmspike.energy.costs import COSTS, CostTable, get_costs
from mmspike.energy.counter import EnergyCounter, UncountedError
from mmspike.energy.counts import EnergyCounts, LayerCount, NeuronCount
from mmspike.energy.files import write_report
from mmspike.energy.memories import MEMORIES, get_memory
from mmspike.energy.memory import MemoryModel
from mmspike.energy.origin import Origin
from mmspike.energy.quantised import Comparison, QuantisedANN
from mmspike.energy.report import EnergyReport
from mmspike.energy.reuse import ReuseModel
from mmspike.energy.rows import LayerEnergy, NeuronRate, Totals

__all__ = [
    'COSTS',
    'MEMORIES',
    'Comparison',
    'CostTable',
    'EnergyCounter',
    'EnergyCounts',
    'EnergyReport',
    'IntegerCosts',
    'LayerCount',
    'LayerEnergy',
    'MemoryModel',
    'NeuronCount',
    'NeuronRate',
    'Origin',
    'QuantisedANN',
    'ReuseModel',
    'Totals',
    'UncountedError',
    'get_costs',
    'get_memory',
    'write_report',
]
