"""The rows of an energy report: of layers, of neurons, and their sums."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmspike.deprecation import WithOldNames, renamed_attribute

# Below this rate a neuron layer counts as dead; above this share of active outputs, or of the
# largest possible rate, as saturated.
DEAD_RATE = 0.001
SATURATED = 0.95
PJ_PER_MJ = 1e9
MICROJOULE = '\N{MICRO SIGN}J'


@dataclass(frozen=True, kw_only=True)
class LayerEnergy:
    """One layer, or one product, mask or sum of an attention. All numbers are per image.

    Attributes:
        name: Name of the layer.
        stage: Part of the network that it belongs to.
        kind: The function: ``'conv2d'``, ``'linear'``, ``'product'``, ``'mask'``, ``'sum'``.
        input: ``'spikes'``, ``'analog'``, or ``'both'`` of a layer that was given now one, now the
            other.
        rate: Spikes per input and time step; None of analog layers. Of a mask of two maps, the sum
            of their rates.
        flops: MACs of one time step, by convention.
        macs: MACs that are spent: those of analog inputs, over all steps.
        sops: Synaptic operations, exact.
        sops_published: Synaptic operations by the published approximation.
        energy_pj, energy_published_pj: Energy in pJ with either.
        ann_pj: Energy in pJ of the same layer in an ANN.
        memory_pj, ann_memory_pj: Energy in pJ of reading and writing memory, of the layer and of
            the same in an ANN; None if it was not asked for. It is in none of the others.
        bits: Bits of its inputs in a quantised ANN.
        quantised_pj, quantised_ann_pj: Energy in pJ of its arithmetic on integers, in the network
            and in a quantised ANN, see :mod:`mmspike.energy.quantised`.
        break_even: The rate at which both are equal; None of analog layers.
    """

    name: str
    stage: str
    kind: str
    input: str
    rate: float | None
    flops: float
    macs: float
    sops: float
    sops_published: float
    energy_pj: float
    energy_published_pj: float
    ann_pj: float
    bits: int
    quantised_pj: float
    quantised_ann_pj: float
    break_even: float | None = None
    memory_pj: float | None = None
    ann_memory_pj: float | None = None


@dataclass(frozen=True, kw_only=True)
class NeuronRate:
    """The spikes of one neuron layer.

    Attributes:
        name: Name of the layer.
        stage: Part of the network that it belongs to.
        rate: Spikes per neuron and time step.
        active: Share of outputs that were not 0.
        max_spikes: The most spikes of a neuron in one time step.
        timesteps: Number of time steps T.
        updates: Membrane updates per image.
        memory_pj: Energy in pJ per image of reading and writing memory; None if it was not asked
            for.
    """

    name: str
    stage: str
    rate: float
    active: float
    max_spikes: int
    timesteps: float
    updates: float
    memory_pj: float | None = None

    @property
    def dead(self) -> bool:
        """Whether it hardly fires."""
        return self.updates > 0 and self.rate < DEAD_RATE

    @property
    def saturated(self) -> bool:
        """Whether it can hardly fire more."""
        return self.active > SATURATED or self.rate > SATURATED * self.max_spikes


@dataclass(frozen=True, kw_only=True)
class Totals(WithOldNames):
    """Sums over layers, per image; energies in mJ.

    Attributes:
        flops, macs, sops, sops_published: See :class:`LayerEnergy`.
        energy_mj, energy_published_mj, ann_mj: Energies of arithmetic.
        quantised_mj, quantised_ann_mj: The same on integers, of the network and of a quantised ANN.
        memory_mj, ann_memory_mj: Energies of memory, that of neurons with it; None if they were not
            asked for.
    """

    flops: float
    macs: float
    sops: float
    sops_published: float
    energy_mj: float
    energy_published_mj: float
    ann_mj: float
    quantised_mj: float
    quantised_ann_mj: float
    memory_mj: float | None = None
    ann_memory_mj: float | None = None

    @property
    def ratio(self) -> float | None:
        """Energy of the ANN over that of the network; None if the network has no operations."""
        return self.ann_mj / self.energy_mj if self.energy_mj else None

    @property
    def ratio_published(self) -> float | None:
        """The same by the published approximation."""
        return self.ann_mj / self.energy_published_mj if self.energy_published_mj else None

    @property
    def total_mj(self) -> float | None:
        """Arithmetic and memory; None if memory was not asked for."""
        return None if self.memory_mj is None else self.energy_mj + self.memory_mj

    @property
    def ann_total_mj(self) -> float | None:
        """The same of the ANN."""
        return None if self.ann_memory_mj is None else self.ann_mj + self.ann_memory_mj

    both_mj = renamed_attribute('both_mj', 'total_mj')
    ann_both_mj = renamed_attribute('ann_both_mj', 'ann_total_mj')

    @staticmethod
    def of(rows: list[LayerEnergy], neurons: list[NeuronRate], memory: bool) -> 'Totals':
        """Sum rows; of the neurons it is the energy of memory, if there is any."""

        def total(key: str, among: Sequence[LayerEnergy | NeuronRate] = rows) -> float:
            return sum(getattr(row, key) for row in among)

        sums = Totals(
            flops=total('flops'),
            macs=total('macs'),
            sops=total('sops'),
            sops_published=total('sops_published'),
            energy_mj=total('energy_pj') / PJ_PER_MJ,
            energy_published_mj=total('energy_published_pj') / PJ_PER_MJ,
            ann_mj=total('ann_pj') / PJ_PER_MJ,
            quantised_mj=total('quantised_pj') / PJ_PER_MJ,
            quantised_ann_mj=total('quantised_ann_pj') / PJ_PER_MJ,
        )
        if not memory:
            return sums
        return replace(
            sums,
            memory_mj=total('memory_pj', (*rows, *neurons)) / PJ_PER_MJ,
            ann_memory_mj=total('ann_memory_pj') / PJ_PER_MJ,
        )


def stage_of(name: str) -> str:
    """The stage of a layer, from its name.

    >>> stage_of('backbone.stages.3.blocks.0.mlp.fc1.conv'), stage_of('backbone.layer1.0.conv1')
    ('stage 3', 'layer1')
    """
    parts = name.partition(':')[0].split('.')
    if 'stages' in parts[:-1]:
        return f'stage {parts[parts.index("stages") + 1]}'
    if parts[0] in ('backbone', 'model', 'module') and len(parts) > 1:
        return parts[1]
    return parts[0] or '(model)'
