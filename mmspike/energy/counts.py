"""Raw sums of operations, as plain numbers that add up over batches and processes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mmspike.recorders.firing_rates import FiringRate


@dataclass(kw_only=True)
class LayerCount:
    """Sums of one layer, or of one product of an attention, over all samples.

    A layer that ran several times, on other maps or as a shared module, sums all its calls.

    Attributes:
        kind: The function: ``'conv2d'``, ``'linear'``, ``'product'``, ``'mask'``, ``'sum'``.
        calls: How often it ran.
        macs: MACs of all calls, by convention, whatever the input was.
        analog_macs: Those of calls whose input was no spike train.
        macs_once: ``macs``, each call divided by the number of time steps T that it ran: what a
            network without time would do.
        inputs: Inputs of calls that took spikes: positions x channels x samples x T.
        spikes: Spikes among these; an integer neuron that fires n counts as many as the encoding
            sends, usually n. Of a mask of two maps, those of both.
        sops: Synaptic operations (SOPs), exact: over all spikes, the connections that leave each.
        shifts: Shifts, where integers are sent in slots of several weights: one of each output for
            each slot of another weight than 1.
        analog_inputs: Inputs of calls that took no spikes.
        outputs: Outputs of all calls.
        weights: Weights that it holds; of a product, numbers of the side that spikes select from,
            of one sample and step.
        input_size, output_size: Inputs and outputs of one sample and step, of the largest call.
        images: Samples of all calls.
        max_spikes: The most spikes of an input in one time step; 0 without spikes.
        other_max_spikes: Of a product or mask, the same of the other side.
        kernel: Size of the kernel, such as ``'3x3'``; empty of other layers.
        output_shape: Shape of one output, such as ``'64x56x56'``, of the first call.
    """

    kind: str
    calls: int = 0
    macs: int = 0
    analog_macs: int = 0
    macs_once: float = 0.0
    inputs: int = 0
    spikes: float = 0.0
    sops: float = 0.0
    shifts: int = 0
    analog_inputs: int = 0
    outputs: int = 0
    weights: int = 0
    input_size: int = 0
    output_size: int = 0
    images: int = 0
    max_spikes: int = 0
    other_max_spikes: int = 0
    kernel: str = ''
    output_shape: str = ''

    def __add__(self, other: 'LayerCount') -> 'LayerCount':
        largest = ('weights', 'input_size', 'output_size', 'max_spikes', 'other_max_spikes')
        return _added(self, other, largest)

    @property
    def timesteps(self) -> float:
        """Number of time steps T that it ran."""
        return self.macs / self.macs_once if self.macs_once else 1.0

    @property
    def levels(self) -> int:
        """The largest integer that its spikes stand for in all steps, T*D; 0 without spikes."""
        return round(self.timesteps * self.max_spikes)

    @property
    def other_levels(self) -> int:
        """Of a product or mask, the same of the other side."""
        return round(self.timesteps * self.other_max_spikes)


@dataclass(kw_only=True)
class NeuronCount:
    """Spikes of one neuron layer over all samples.

    Attributes:
        max_spikes: The largest number that a neuron fires in one time step: 1, or D of integer
            neurons.
        outputs_once: Outputs of one time step, that is neurons x samples.
        updates: Outputs, which is updates of membranes: neurons x samples x T.
        spikes: Spikes; an integer neuron that fires n counts as many as the encoding sends, usually
            n.
        active: Outputs that were not 0.
        size: Neurons of one sample, of the largest call.
    """

    max_spikes: int = 1
    outputs_once: float = 0.0
    updates: int = 0
    spikes: float = 0.0
    active: float = 0.0
    size: int = 0

    def __add__(self, other: 'NeuronCount') -> 'NeuronCount':
        return _added(self, other, largest=('max_spikes', 'size'))

    @property
    def timesteps(self) -> float:
        """Number of time steps T; the mean, where samples had different numbers of them."""
        return self.updates / self.outputs_once if self.outputs_once else 1

    @property
    def rate(self) -> float:
        """Spikes per neuron and time step."""
        return self.spikes / self.updates if self.updates else 0.0

    @property
    def active_fraction(self) -> float:
        """Share of outputs that were not 0."""
        return self.active / self.updates if self.updates else 0.0


@dataclass(kw_only=True)
class EnergyCounts:
    """Sums of a whole model.

    Attributes:
        samples: Images, or other samples, that it was given.
        layers: By name, in the order in which they first ran.
        neurons: Neuron layers by name, in the order of the model.
        uncounted: Calls that multiply in a way that is not understood, by layer and function.
        never_called: Modules with weights that did not run.
        real_functions: Numbers that went through functions of real numbers, such as softmax, by
            layer and function. Their cost is not counted.
        input_shapes: Samples by the shape of one, such as ``'3x224x224'``.
        neuron_kinds: Neuron layers by type and the settings that all of the type have.
        encoding: How integers are sent, a name in
            :data:`~mmspike.execution.encodings.ENCODINGS`.
    """

    samples: int = 0
    layers: dict[str, LayerCount] = field(default_factory=dict)
    neurons: dict[str, NeuronCount] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)
    never_called: list[str] = field(default_factory=list)
    real_functions: dict[str, int] = field(default_factory=dict)
    input_shapes: dict[str, int] = field(default_factory=dict)
    neuron_kinds: dict[str, int] = field(default_factory=dict)
    encoding: str = 'spike'

    def rates(self) -> list[FiringRate]:
        """Firing rates of the neuron layers."""
        return [
            FiringRate(name, one.spikes, one.active, one.updates)
            for name, one in self.neurons.items()
        ]

    @property
    def mean_rate(self) -> float:
        """Spikes per neuron and time step over all neuron layers."""
        updates = sum(one.updates for one in self.neurons.values())
        return sum(one.spikes for one in self.neurons.values()) / updates if updates else 0.0

    @staticmethod
    def merged(parts: Iterable['EnergyCounts']) -> 'EnergyCounts':
        """Sum of several, such as those of the processes of a distributed run.

        Not all need to have run all layers: a process may have seen no object, for instance.

        Raises:
            ValueError: They are of different encodings.
        """
        parts = list(parts)
        encodings = sorted({part.encoding for part in parts})
        if len(encodings) > 1:
            raise ValueError(
                f'counts of the encodings {", ".join(encodings)} do not add up: count with one of '
                'them, EnergyCounter(model, encoding=...)'
            )
        total = EnergyCounts(encoding=encodings[0]) if encodings else EnergyCounts()
        for part in parts:
            total.samples += part.samples
            pairs: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
                (total.layers, part.layers),
                (total.neurons, part.neurons),
                (total.uncounted, part.uncounted),
                (total.real_functions, part.real_functions),
                (total.input_shapes, part.input_shapes),
            )
            for mine, theirs in pairs:
                for name, count in theirs.items():
                    mine[name] = mine[name] + count if name in mine else count
        total.neuron_kinds = dict(parts[0].neuron_kinds) if parts else {}
        total.never_called = [
            name
            for name in (parts[0].never_called if parts else [])
            if all(name in part.never_called for part in parts)
        ]
        return total


def _added(one, other, largest: tuple[str, ...]):
    """The sum of two counts, field by field; of the fields ``largest``, the larger value."""
    values = dict(vars(one))
    for name, theirs in vars(other).items():
        if name in largest:
            values[name] = max(values[name], theirs)
        elif not isinstance(theirs, str):
            values[name] += theirs
        elif not values[name]:
            values[name] = theirs
    return type(one)(**values)
