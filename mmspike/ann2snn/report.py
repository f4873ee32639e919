"""Report of a conversion: the treatment of each part of a network."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from rich.table import Table
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike.ann2snn.quantise import APPROXIMATE
from mmspike.energy import EnergyCounter
from mmspike.execution.spike_flow import SpikeFlow
from mmspike.neurons import SpikingQCFS
from mmspike.wording import some_of

# Functions that are neither linear nor neurons, by the names that PyTorch calls them.
_NON_LINEAR = frozenset(
    ('adaptive_max_pool1d', 'adaptive_max_pool2d', 'adaptive_max_pool3d', 'batch_norm', 'celu',
     'elu', 'gelu', 'glu', 'group_norm', 'hardshrink', 'hardsigmoid', 'hardswish', 'hardtanh',
     'instance_norm', 'layer_norm', 'leaky_relu', 'log_softmax', 'logsigmoid', 'max_pool1d',
     'max_pool2d', 'max_pool3d', 'mish', 'prelu', 'relu', 'relu6', 'rms_norm', 'rrelu',
     'scaled_dot_product_attention', 'selu', 'sigmoid', 'silu', 'softmax', 'softmin', 'softplus',
     'softshrink', 'softsign', 'tanh', 'tanhshrink')
)  # fmt: skip


@dataclass
class ConversionReport:
    """Parts of a converted model by name.

    Attributes:
        neurons: Neuron to its threshold.
        replaced: Neuron to the type of activation that it took the place of; empty where the
            network was built with QCFS.
        approximate: Those of them that quantised activations only come near: without training, the
            network is another one.
        folded: Batch norms that became part of the layers before them.
        spiking: Layers with weights, and products, that take spikes.
        analog: Those that take other numbers.
        functions: Functions that are not linear and no neurons, by the module that calls them.
        never_called: Modules with weights that did not run.
    """

    neurons: dict[str, float] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    approximate: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    spiking: list[str] = field(default_factory=list)
    analog: list[str] = field(default_factory=list)
    functions: dict[str, list[str]] = field(default_factory=dict)
    never_called: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    def table(self) -> Table:
        """One row for each kind of part."""
        table = Table(title='what became of the parts', title_justify='left')
        table.add_column('')
        table.add_column('number', justify='right')
        table.add_column('which')
        kinds = Counter(self.replaced.values())
        rows = (
            ('neurons', self.neurons, ', '.join(f'{n} for {kind}' for kind, n in kinds.items())),
            ('only about the activation it was', self.approximate, some_of(self.approximate, 4)),
            ('norms folded into layers', self.folded, some_of(self.folded, 4)),
            ('layers and products on spikes', self.spiking, some_of(self.spiking, 4)),
            ('layers and products on numbers', self.analog, some_of(self.analog, 4)),
            ('modules that call other functions', self.functions, _calls(self.functions)),
            (
                'modules with weights that never ran',
                self.never_called,
                some_of(self.never_called, 4),
            ),
        )
        for title, parts, which in rows:
            table.add_row(title, str(len(parts)), which)
        return table


def _calls(functions: dict[str, list[str]]) -> str:
    where: dict[str, list[str]] = {}
    for module, names in functions.items():
        for name in names:
            where.setdefault(name, []).append(module)
    return '; '.join(f'{name}: {some_of(modules, 2)}' for name, modules in where.items())


class _NonLinear(SpikeFlow):
    """Records the calls of nonlinear functions and their modules."""

    watches_only = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.seen: dict[str, set[str]] = {}

    def watch(self, func: Callable, args: tuple, kwargs: dict) -> None:
        name = getattr(func, '__name__', '').strip('_')
        if name in _NON_LINEAR:
            self.seen.setdefault(self.layer or '(model)', set()).add(name)


@torch.no_grad()
def conversion_report(
    model: nn.Module,
    run: Callable[[nn.Module], Any],
    *,
    replaced: dict[str, str] | None = None,
    before: nn.Module | None = None,
) -> ConversionReport:
    """Run a converted model once and record the inputs of its layers.

    Args:
        model: The converted model, in evaluation mode.
        run: Runs the model it is given.
        replaced: What :func:`~mmspike.ann2snn.insert_qcfs` returned.
        before: The model before norms were folded.
    """
    with EnergyCounter(model) as counter, _NonLinear(model) as flow:
        run(model)
    counts = counter.counts()
    left = {name for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    norms = [name for name, m in (before or model).named_modules() if isinstance(m, _BatchNorm)]
    return ConversionReport(
        neurons={
            name: module.positive_threshold.item()
            for name, module in model.named_modules()
            if isinstance(module, SpikingQCFS)
        },
        replaced=dict(replaced or {}),
        approximate=[name for name, kind in (replaced or {}).items() if kind in APPROXIMATE],
        folded=[name for name in norms if name not in left],
        spiking=[name for name, one in counts.layers.items() if one.inputs],
        analog=[name for name, one in counts.layers.items() if one.analog_macs],
        functions={name: sorted(names) for name, names in flow.seen.items()},
        never_called=counts.never_called,
    )
