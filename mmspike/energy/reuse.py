"""Energy of reading and writing memory where whatever can be kept is kept."""

from dataclasses import dataclass

from mmspike.energy.counts import LayerCount, NeuronCount
from mmspike.energy.memory import FULL, Widths


@dataclass(frozen=True)
class ReuseModel:
    """A small memory beside every unit of arithmetic, a buffer, and a large memory outside.

    The opposite of :class:`MemoryModel`: whatever can be kept is kept. Each operation works on the
    small memory beside it: an addition for a spike reads a weight, and reads and writes a
    potential, as a shift does; a MAC reads a weight and an input, and reads and writes a sum.
    Weights come from outside once per image, and from the buffer once per time step. What layers
    take and put out, and the potentials of neurons, go through the buffer once per time step. The
    spikes of a neuron are one bit for each that it could fire.

    Attributes:
        name: Name of the model.
        near_pj, buffer_pj, outside_pj: pJ per bit of an access.
        source: Where it is from.
    """

    name: str
    near_pj: float
    buffer_pj: float
    outside_pj: float
    source: str

    accesses = (
        'every operation works on a small memory beside it; weights come from outside once per '
        'image, and from a buffer once per time step; what layers take and put out, and '
        'potentials, go through the buffer once per time step. Masks, sums, norms, biases and '
        'residual branches are not in it.'
    )

    def layer_pj(self, count: LayerCount, widths: Widths = FULL) -> float:
        """Energy in pJ of a layer as it ran, on all samples; 0 of masks and sums."""
        if not (count.weights and count.macs):
            return 0.0
        numbers = count.sops * (widths.weights + 2 * widths.sums) + count.shifts * 2 * widths.sums
        near = numbers * self.near_pj
        spikes = count.inputs * count.max_spikes * self.buffer_pj  # a bit for each slot
        real = count.analog_macs / count.macs
        return (
            near
            + spikes
            + self._weights(count, count.timesteps, widths)
            + self._without_spikes(count, count.analog_macs, count.analog_inputs, real, widths)
        )

    def ann_pj(self, count: LayerCount, widths: Widths = FULL) -> float:
        """Energy in pJ of the same layer in an ANN, which runs once."""
        if not (count.weights and count.macs):
            return 0.0
        once = count.macs_once / count.macs
        inputs = once * (count.inputs + count.analog_inputs)
        return self._weights(count, 1, widths) + self._without_spikes(
            count, count.macs_once, inputs, once, widths
        )

    def _weights(self, count: LayerCount, steps: float, widths: Widths) -> float:
        """Weights, or the other side of a product, come in once per image, and per time step."""
        bits = count.images * count.weights * widths.weights
        return bits * (self.outside_pj + steps * self.buffer_pj)

    def _without_spikes(
        self, count: LayerCount, macs: float, inputs: float, share: float, widths: Widths
    ) -> float:
        near = macs * (widths.weights + widths.activations + 2 * widths.sums) * self.near_pj
        moved = (inputs + share * count.outputs) * widths.activations * self.buffer_pj
        return near + moved

    def neurons_pj(self, count: NeuronCount, widths: Widths = FULL) -> float:
        """Energy in pJ of a layer of neurons, on all samples."""
        return count.updates * (2 * widths.sums + count.max_spikes) * self.buffer_pj
