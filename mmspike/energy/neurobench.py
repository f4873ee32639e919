"""NeuroBench's metrics for models of mmspike, beside the counts of this package.

NeuroBench (J. Yik et al., Nature Communications 16:1589, 2025) measures networks of PyTorch by the
inputs and outputs of their modules. It takes a model in a wrapper:

    model = SpikingModel(net)
    results = Benchmark(model, loader, [], [], [[Footprint], [SynapticOperations]]).run()

Needs the extra ``neurobench``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mmspike.energy.counter import EnergyCounter
from mmspike.energy.counts import EnergyCounts
from mmspike.neurons import BaseNeuron

try:
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import (
        ActivationSparsity,
        ActivationSparsityByLayer,
        MembraneUpdates,
        SynapticOperations,
    )
    from neurobench.models import NeuroBenchModel
except ImportError as error:
    raise ImportError(
        f"mmspike.energy.neurobench needs NeuroBench: pip install 'mmspike[neurobench]' ({error})"
    ) from error

METRICS = (
    [ParameterCount, Footprint, ConnectionSparsity],
    [
        ActivationSparsity,
        ActivationSparsityByLayer,
        SynapticOperations,
        MembraneUpdates,
    ],
)


class SpikingModel(NeuroBenchModel):
    """A model of mmspike as NeuroBench takes it; its neurons are known as activations.

    Args:
        net: The model; it is put into evaluation mode.
        run: How it is called; ``net(batch)`` by default.
    """

    def __init__(self, net: nn.Module, run: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self._net = net
        self._run = run or net
        net.eval()
        self.add_activation_module(BaseNeuron)

    def __call__(self, batch: Tensor) -> Any:
        with torch.no_grad():
            return self._run(batch)

    def __net__(self) -> nn.Module:
        return self._net


@dataclass(frozen=True)
class MetricRow:
    """One number of both.

    Attributes:
        metric: NeuroBench's name.
        theirs: NeuroBench's number.
        ours: That of mmspike.
        why: Why they differ, or may; empty where both define the same.
    """

    metric: str
    theirs: float
    ours: float
    why: str = ''

    @property
    def equal(self) -> bool:
        """Whether they agree to NeuroBench's rounding."""
        return abs(self.theirs - self.ours) <= 1e-4 * max(1.0, abs(self.ours))


def compare_with_neurobench(
    net: nn.Module,
    inputs: Tensor,
    run: Callable[[Tensor], Any] | None = None,
    batch_size: int = 8,
) -> list[MetricRow]:
    """NeuroBench's static metrics, and those of its workload metrics that need no labels.

    Its NeuronOperations does not run on neurons of others than snnTorch; its row says so.

    Args:
        net: The model.
        inputs: Samples ``(N, ...)``.
        run: How a batch of them goes through the model; ``net(batch)`` by default.
        batch_size: Of a call.

    Raises:
        RuntimeError: One of NeuroBench's metrics failed; NeuroBench itself says 0 then.
    """
    data = TensorDataset(inputs, torch.zeros(len(inputs), dtype=torch.int64))
    model = SpikingModel(net, run)
    bench = Benchmark(model, DataLoader(data, batch_size), [], [], [list(m) for m in METRICS])
    try:
        theirs = bench.run(quiet=True)
    finally:
        model.cleanup_hooks()  # which keep the inputs of all layers
    for name in ('SynapticOperations', 'ActivationSparsityByLayer'):
        if not isinstance(theirs.get(name), dict):
            raise RuntimeError(
                f'{name} of NeuroBench failed on {type(net).__name__} and says '
                f'{theirs.get(name)!r}; a layer that its hooks do not understand?'
            )
    counter = EnergyCounter(net)
    with counter:
        for batch in inputs.split(batch_size):
            model(batch)
    counter.samples = len(inputs)
    return _rows(net, theirs, counter.counts())


def _rows(net: nn.Module, theirs: dict[str, Any], counts: EnergyCounts) -> list[MetricRow]:
    samples = counts.samples
    operations = theirs['SynapticOperations']
    layers = [one for one in counts.layers.values() if one.kind not in ('product', 'mask', 'sum')]
    rest = [one for one in counts.layers.values() if one.kind in ('product', 'mask', 'sum')]
    updates = sum(one.updates for one in counts.neurons.values())
    active = sum(one.active for one in counts.neurons.values())
    state = [*net.parameters(), *net.buffers()]
    rows = [
        MetricRow(
            'ParameterCount', theirs['ParameterCount'], sum(p.numel() for p in net.parameters())
        ),
        MetricRow(
            'Footprint', theirs['Footprint'], sum(x.numel() * x.element_size() for x in state)
        ),
        MetricRow('ConnectionSparsity', theirs['ConnectionSparsity'], _zeros(net)),
        MetricRow(
            'ActivationSparsity',
            theirs['ActivationSparsity'],
            1 - active / updates if updates else 0.0,
        ),
        MetricRow(
            'ActivationSparsityByLayer, layers',
            len(theirs['ActivationSparsityByLayer']),
            len(counts.neurons),
            'NeuroBench joins layers whose names end alike',
        ),
        MetricRow(
            'Effective_ACs',
            operations['Effective_ACs'],
            sum(one.sops for one in layers) / samples,
            _why_additions(counts),
        ),
        MetricRow(
            'Effective_MACs',
            operations['Effective_MACs'],
            sum(one.analog_macs for one in layers) / samples,
            'NeuroBench leaves out inputs that are zero, and the zeros around a map; mmspike '
            'counts MACs by convention',
        ),
        MetricRow(
            'Dense',
            operations['Dense'],
            sum(one.macs for one in layers) / samples,
            'NeuroBench leaves out the zeros around a map, and weights that are zero',
        ),
        MetricRow(
            'MembraneUpdates',
            theirs['MembraneUpdates'],
            updates / samples,
            'NeuroBench reads the membranes of snnTorch alone; mmspike counts one update per '
            'neuron and time step, whether it changes the membrane or not',
        ),
        MetricRow(
            'NeuronOperations',
            0,
            updates / samples,
            'NeuroBench knows the operations of the neurons of snnTorch alone, fails on others, '
            'and says 0; mmspike counts updates of neurons',
        ),
    ]
    if rest:
        rows.append(
            MetricRow(
                'operations of attentions',
                0,
                sum(one.sops + one.analog_macs for one in rest) / samples,
                'NeuroBench sees modules alone, no products of two activations',
            )
        )
    return rows


def _why_additions(counts: EnergyCounts) -> str:
    if any(one.max_spikes > 1 for one in counts.neurons.values()):
        return (
            'a layer that takes an integer above 1, or spikes worth less than 1, has MACs for '
            'NeuroBench; for mmspike an integer n is n additions'
        )
    return ''


def _zeros(net: nn.Module) -> float:
    """Share of the weights of layers that are zero."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    weights = [module.weight for module in net.modules() if isinstance(module, kinds)]
    total = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / total if total else 0.0
