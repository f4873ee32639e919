"""A quantised ANN beside the spiking network: of the same shape, and of the same width.

What neurons fire in T steps of at most D spikes is an integer from 0 to T*D. An ANN that hands on
integers of ``ceil(log2(T*D + 1))`` bits says as much, and its multiplications are cheap. Beside it,
the spiking network has weights of the same bits, and adds integers as well. See Z. Yan et al.,
Reconsidering the Energy Efficiency of Spiking Neural Networks, arXiv 2409.08290, and Shen et al.,
STEP, arXiv 2505.11151.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mmspike.energy.bit_costs import HOROWITZ_INTEGERS, IntegerCosts, bits_of
from mmspike.energy.counts import EnergyCounts, LayerCount, NeuronCount
from mmspike.energy.memory import Memory, Widths
from mmspike.energy.rows import PJ_PER_MJ

ARITHMETIC = 'arithmetic alone'


@dataclass(frozen=True)
class QuantisedANN:
    """Bit widths of the quantised ANN, and of the network beside it.

    Attributes:
        weight_bits: Of weights.
        input_bits: Of real numbers, such as the pixels that the first layer takes.
        sum_bits: Of sums and potentials.
        costs: Of integer arithmetic.
    """

    weight_bits: int = 8
    input_bits: int = 8
    sum_bits: int = 32
    costs: IntegerCosts = HOROWITZ_INTEGERS

    def activation_bits(self, count: LayerCount) -> int:
        """Bits of what the layer takes: ``ceil(log2(T*D + 1))`` where that is spikes."""
        return bits_of(count.levels) if count.levels else self.input_bits

    def other_bits(self, count: LayerCount) -> int:
        """Bits of the weights; of a product of two spike trains, of the other side."""
        return bits_of(count.other_levels) if count.other_levels else self.weight_bits

    def ann_pj(self, count: LayerCount) -> float:
        """Energy in pJ of the layer's arithmetic in the quantised ANN, over all samples."""
        return sum(
            one.macs_once * self._mac_pj(self.activation_bits(one), self.other_bits(one))
            for one in real_and_spiking(count)
        )

    def network_pj(self, count: LayerCount) -> float:
        """Energy in pJ of the layer's arithmetic in the spiking network with these weights.

        A shift of an integer costs an addition.
        """
        analog = count.analog_macs * self._mac_pj(self.input_bits, self.weight_bits)
        return (count.sops + count.shifts) * self.costs.add_pj(self.sum_bits) + analog

    def _mac_pj(self, bits: int, other_bits: int) -> float:
        return self.costs.mul_pj(bits, other_bits) + self.costs.add_pj(self.sum_bits)

    def widths(self, count: LayerCount) -> Widths:
        """Bits of the layer's numbers in memory."""
        return Widths(self.other_bits(count), self.activation_bits(count), self.sum_bits)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The network beside the quantised ANN. Energies are in mJ per image.

    Attributes:
        memory: Name of the memory model, or ``'arithmetic alone'``.
        network_mj: Energy of the network.
        once_mj: The same, if the encoder runs once instead of at every step.
        ann_mj: Energy of the quantised ANN.
        rate: Spikes per connection and time step: how much of its work the network does.
        break_even: The rate at which both need the same; None if the network needs more even when
            it fires nothing, or if it fires nothing, which does not show what a spike costs.
    """

    memory: str
    network_mj: float
    once_mj: float
    ann_mj: float
    rate: float
    break_even: float | None

    @property
    def never(self) -> bool:
        """Whether the network needs more than the ANN even when it fires nothing."""
        return self.break_even is None and (self.rate > 0 or self.network_mj > self.ann_mj)

    @property
    def ratio(self) -> float | None:
        """Energy of the quantised ANN over that of the network."""
        return self.ann_mj / self.network_mj if self.network_mj else None


def compare(
    counts: EnergyCounts, quantised: QuantisedANN, memory: Memory | None = None
) -> Comparison:
    """Compare the network with its quantised ANN.

    Args:
        counts: What was counted; with one layer only, the comparison is that layer's.
        quantised: The ANN.
        memory: The model of memory accesses; None compares arithmetic alone.
    """
    scale = PJ_PER_MJ * counts.samples
    total = _network_pj(counts, quantised, memory)
    fixed = _network_pj(_silent(counts), quantised, memory)
    ann = sum(_ann_pj(count, quantised, memory) for count in counts.layers.values())
    spiking = sum(count.macs - count.analog_macs for count in counts.layers.values())
    rate = sum(count.sops for count in counts.layers.values()) / spiking if spiking else 0.0
    break_even = None
    if total > fixed and ann >= fixed:
        break_even = rate * (ann - fixed) / (total - fixed)
    return Comparison(
        memory=memory.name if memory else ARITHMETIC,
        network_mj=total / scale,
        once_mj=_network_pj(_once(counts), quantised, memory) / scale,
        ann_mj=ann / scale,
        rate=rate,
        break_even=break_even,
    )


def comparisons(
    counts: EnergyCounts, quantised: QuantisedANN, memories: Iterable[Memory]
) -> list[Comparison]:
    """Arithmetic alone, then with each memory model."""
    return [compare(counts, quantised, memory) for memory in (None, *memories)]


def of_layer(counts: EnergyCounts, name: str) -> EnergyCounts:
    """The counts of one layer alone."""
    return replace(counts, layers={name: counts.layers[name]}, neurons={})


def real_and_spiking(count: LayerCount) -> list[LayerCount]:
    """A layer that took real numbers and spikes, by these; any other layer as it is."""
    if not 0 < count.analog_macs < count.macs:
        return [count]
    share = count.analog_macs / count.macs
    images, outputs = round(count.images * share), round(count.outputs * share)
    real = replace(
        count,
        macs=count.analog_macs, macs_once=count.macs_once * share, images=images, outputs=outputs,
        inputs=0, spikes=0.0, sops=0.0, shifts=0, max_spikes=0, other_max_spikes=0,
    )  # fmt: skip
    spiking = replace(
        count,
        macs=count.macs - count.analog_macs, macs_once=count.macs_once * (1 - share),
        images=count.images - images, outputs=count.outputs - outputs,
        analog_macs=0, analog_inputs=0,
    )  # fmt: skip
    return [real, spiking]


def _network_pj(counts: EnergyCounts, quantised: QuantisedANN, memory: Memory | None) -> float:
    energy = sum(quantised.network_pj(count) for count in counts.layers.values())
    if memory is None:
        return energy
    parts = [one for count in counts.layers.values() for one in real_and_spiking(count)]
    energy += sum(memory.layer_pj(one, quantised.widths(one)) for one in parts)
    widths = Widths(quantised.weight_bits, quantised.input_bits, quantised.sum_bits)
    return energy + sum(memory.neurons_pj(one, widths) for one in counts.neurons.values())


def _ann_pj(count: LayerCount, quantised: QuantisedANN, memory: Memory | None) -> float:
    if memory is None:
        return quantised.ann_pj(count)
    parts = real_and_spiking(count)
    return quantised.ann_pj(count) + sum(memory.ann_pj(x, quantised.widths(x)) for x in parts)


def _silent(counts: EnergyCounts) -> EnergyCounts:
    """The same network if no neuron fires."""
    layers = {name: replace(one, spikes=0.0, sops=0.0) for name, one in counts.layers.items()}
    neurons: dict[str, NeuronCount] = {
        name: replace(one, spikes=0.0, active=0.0) for name, one in counts.neurons.items()
    }
    return replace(counts, layers=layers, neurons=neurons)


def _once(counts: EnergyCounts) -> EnergyCounts:
    """The same network if its encoder runs once, and every step takes the result.

    The encoder is what runs before the first layer that takes spikes. What layers behind it take
    differs from step to step, also where it is real numbers.
    """
    layers = dict(counts.layers)
    for name, one in layers.items():
        if one.inputs:
            break
        share = 1 / one.timesteps
        layers[name] = replace(
            one,
            macs=round(one.macs * share),
            analog_macs=round(one.macs * share),
            analog_inputs=round(one.analog_inputs * share),
            outputs=round(one.outputs * share),
        )
    return replace(counts, layers=layers)
