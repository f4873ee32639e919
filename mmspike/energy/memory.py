"""Energy of reading and writing memory."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mmspike.energy.counts import LayerCount, NeuronCount


@dataclass(frozen=True)
class Widths:
    """Bits of the numbers in memory.

    Attributes:
        weights: Of weights.
        activations: Of what layers of an ANN take and put out.
        sums: Of potentials and sums.
    """

    weights: int = 32
    activations: int = 32
    sums: int = 32


FULL = Widths()


class Memory(Protocol):
    """A model of the energy of memory accesses, in pJ over all samples."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def source(self) -> str:
        """Where it is from."""

    @property
    def accesses(self) -> str:
        """What is read and written, in words."""

    def layer_pj(self, count: LayerCount, widths: Widths = FULL) -> float:
        """Energy of a layer as it ran; 0 of masks and sums."""

    def ann_pj(self, count: LayerCount, widths: Widths = FULL) -> float:
        """Energy of the same layer in an ANN, which runs once."""

    def neurons_pj(self, count: NeuronCount, widths: Widths = FULL) -> float:
        """Energy of a layer of neurons."""


@dataclass(frozen=True)
class MemoryModel:
    """A memory for every layer's weights, inputs and potentials; large ones cost more to access.

    A layer that takes spikes works on events: it reads a spike from a queue, and for each
    connection that leaves its neuron it reads a weight, and reads and writes the potential that
    this is added to. A shift reads and writes a potential. Neurons read and write every potential
    once in a time step and write their spikes into a queue. A layer that takes other values reads a
    weight and an input for each MAC (a linear layer, or a product, each input once) and writes its
    outputs. Nothing is read twice for the price of once.

    Attributes:
        name: Name of the model.
        points: Size of a memory in bytes, and pJ of one access to it, by size. In between it is
            interpolated linearly; beyond the last it is constant.
        word_bytes: Bytes of a number, and of the address of a spike. Numbers of fewer bits take
            less room, and less energy in proportion.
        queue: How many spikes a queue holds.
        source: Where it is from.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    word_bytes: int
    queue: int
    source: str

    accesses = (
        'every synaptic operation reads a weight, and reads and writes a potential; spikes go '
        'through queues; neurons read and write their potentials at every time step. Layers on '
        'real numbers, and all of the ANN, read weights and inputs and write outputs. Masks, sums, '
        'norms, biases and residual branches are not in it.'
    )

    def access_pj(self, numbers: int, bits: int | None = None) -> float:
        """Energy in pJ of reading or writing one number in a memory that holds so many.

        Args:
            numbers: Numbers in the memory.
            bits: Of a number; None takes a word.
        """
        sizes, energies = zip(*self.points, strict=True)
        share = 1.0 if bits is None else bits / (8 * self.word_bytes)
        return float(np.interp(numbers * self.word_bytes * share, sizes, energies)) * share

    def layer_pj(self, count: LayerCount, widths: Widths = FULL) -> float:
        """Energy in pJ of a layer as it ran, on all samples; 0 of masks and sums."""
        if not (count.weights and count.macs):
            return 0.0
        share = count.analog_macs / count.macs
        weights = self._access(count.weights, widths.weights)
        potentials = self._access(count.output_size, widths.sums)
        return (
            count.spikes * self.access_pj(self.queue)
            + count.sops * (weights + 2 * potentials)
            + count.shifts * 2 * potentials
            + self._without_spikes(count, count.analog_macs, count.analog_inputs, share, widths)
        )

    def ann_pj(self, count: LayerCount, widths: Widths = FULL) -> float:
        """Energy in pJ of the same layer in an ANN, which runs once."""
        if not (count.weights and count.macs):
            return 0.0
        once = count.macs_once / count.macs
        inputs = once * (count.inputs + count.analog_inputs)
        return self._without_spikes(count, count.macs_once, inputs, once, widths)

    def _access(self, numbers: int, bits: int) -> float:
        return self.access_pj(numbers, None if bits == FULL.weights else bits)

    def _without_spikes(
        self, count: LayerCount, macs: float, inputs: float, share: float, widths: Widths
    ) -> float:
        """Energy in pJ on numbers that are not spikes; ``share`` is the part of the outputs."""
        reads = macs if count.kind.startswith('conv') else inputs
        return (
            macs * self._access(count.weights, widths.weights)
            + reads * self._access(count.input_size, widths.activations)
            + share * count.outputs * self._access(count.output_size, widths.activations)
        )

    def neurons_pj(self, count: NeuronCount, widths: Widths = FULL) -> float:
        """Energy in pJ of a layer of neurons, on all samples."""
        potentials = 2 * count.updates * self._access(count.size, widths.sums)
        return potentials + count.spikes * self.access_pj(self.queue)
