"""Energy of reading and writing memory."""

from dataclasses import dataclass

import numpy as np

from mmspike.energy.counts import LayerCount, NeuronCount


@dataclass(frozen=True)
class MemoryModel:
    """A memory for every layer's weights, inputs and potentials; large ones cost more to access.

    A layer that takes spikes works on events: it reads a spike from a queue, and for each
    connection that leaves its neuron it reads a weight, and reads and writes the potential that
    this is added to. Neurons read and write every potential once in a time step and write their
    spikes into a queue. A layer that takes other values reads a weight and an input for each MAC
    (a linear layer, or a product, each input once) and writes its outputs. Nothing is read twice
    for the price of once.

    Attributes:
        name: Name of the model.
        points: Size of a memory in bytes, and pJ of one access to it, by size. In between it is
            interpolated linearly; beyond the last it is constant.
        word_bytes: Bytes of a number, and of the address of a spike.
        queue: How many spikes a queue holds.
        source: Where it is from.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    word_bytes: int
    queue: int
    source: str

    def access_pj(self, numbers: int) -> float:
        """Energy in pJ of reading or writing one number in a memory that holds so many."""
        sizes, energies = zip(*self.points, strict=True)
        return float(np.interp(numbers * self.word_bytes, sizes, energies))

    def layer_pj(self, count: LayerCount) -> float:
        """Energy in pJ of a layer as it ran, on all samples; 0 of masks and sums."""
        if not (count.weights and count.macs):
            return 0.0
        share = count.analog_macs / count.macs
        return (
            count.spikes * self.access_pj(self.queue)
            + count.sops * (self.access_pj(count.weights) + 2 * self.access_pj(count.output_size))
            + self._without_spikes(count, count.analog_macs, count.analog_inputs, share)
        )

    def ann_pj(self, count: LayerCount) -> float:
        """Energy in pJ of the same layer in an ANN, which runs once."""
        if not (count.weights and count.macs):
            return 0.0
        once = count.macs_once / count.macs
        inputs = once * (count.inputs + count.analog_inputs)
        return self._without_spikes(count, count.macs_once, inputs, once)

    def _without_spikes(self, count: LayerCount, macs: float, inputs: float, share: float) -> float:
        """Energy in pJ on numbers that are not spikes; ``share`` is the part of the outputs."""
        reads = macs if count.kind.startswith('conv') else inputs
        return (
            macs * self.access_pj(count.weights)
            + reads * self.access_pj(count.input_size)
            + share * count.outputs * self.access_pj(count.output_size)
        )

    def neurons_pj(self, count: NeuronCount) -> float:
        """Energy in pJ of a layer of neurons, on all samples."""
        return 2 * count.updates * self.access_pj(count.size) + count.spikes * self.access_pj(
            self.queue
        )


LEMAIRE = MemoryModel(
    'lemaire2022',
    points=((0, 0.0), (8 * 1024, 10.0), (32 * 1024, 20.0), (1024 * 1024, 100.0)),
    word_bytes=4,
    queue=1000,
    source='E. Lemaire et al., An Analytical Estimation of Spiking Neural Networks Energy '
    'Efficiency, ICONIP 2022 (arXiv 2210.13107), on SRAM at 45 nm: 10 pJ per access to 8 kB, '
    '20 pJ to 32 kB, 100 pJ to 1 MB (Horowitz, ISSCC 2014)',
)
