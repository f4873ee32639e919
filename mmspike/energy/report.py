"""Energy per image and layer, from counted operations and their costs."""

import csv
import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from mmspike.energy.costs import CostTable, get_costs
from mmspike.energy.counter import EnergyCounter
from mmspike.energy.counts import EnergyCounts, LayerCount
from mmspike.energy.encoded import encoding_notes, shifts_pj
from mmspike.energy.memories import MEMORIES, get_memory
from mmspike.energy.memory import Memory
from mmspike.energy.origin import Origin
from mmspike.energy.quantised import Comparison, QuantisedANN, compare, comparisons, of_layer
from mmspike.energy.rows import DEAD_RATE, SATURATED, LayerEnergy, NeuronRate, Totals, stage_of
from mmspike.recorders.step_rates import StepRates
from mmspike.wording import some_of

NOTES = (
    'All numbers are per image. Energy is that of arithmetic alone, where memory is not named.',
    'SOPs (exact): every spike times the connections that leave its neuron, one addition each. '
    'SOPs (published): firing rate x T x MACs of the layer for one step.',
    'A rate counts spikes per neuron and time step T. An integer neuron that fires n counts n: '
    'its D virtual steps are in the rate and not in T.',
    'Masks (spikes times spikes, element by element): one operation for each spike of the larger '
    'side, at the cost of an addition; published: the rates of both maps. Sums of spikes: one '
    'addition for each; published: in the mask before.',
    'ANN: a network of the same shape without time, all MACs, each layer once.',
    'A norm behind a layer costs nothing, because it can be folded into the weights. Softmax, '
    'pooling, sums and the neurons themselves are not counted.',
)

REGIONS_NOTE = (
    'Layers of roi_head run once per detected region. The number of regions differs between '
    'trainings, and so does the energy of the network and of the ANN.'
)


class EnergyReport:
    """The energy of the operations of a model.

    Args:
        counts: A counter after use, or its counts.
        costs: Table of costs, see :func:`~mmspike.energy.get_costs`.
        name: Name of the model, for titles.
        memory: Whether to estimate the energy of memory accesses as well, or the name of a model
            for it (:data:`~mmspike.energy.MEMORIES`), or a
            :class:`~mmspike.energy.MemoryModel`; True takes that of Lemaire et al.
        origin: Origin of the counts, for later readers of the report. By default it contains
            versions, date and command only.
        quantised: Bit widths of the quantised ANN that the network is compared with.
        step_rates: Firing rates by step and slot, of a
            :class:`~mmspike.recorders.step_rates.StepRateRecorder`.

    Raises:
        ValueError: No samples were counted, or ``costs`` or ``memory`` is unknown.
    """

    def __init__(
        self,
        counts: EnergyCounter | EnergyCounts,
        costs: str | dict | CostTable = '45nm',
        name: str = 'model',
        memory: bool | str | Memory = False,
        origin: Origin | None = None,
        quantised: QuantisedANN = QuantisedANN(),
        step_rates: Sequence[StepRates] = (),
    ) -> None:
        if isinstance(counts, EnergyCounter):
            counts = counts.counts()
        if not counts.samples:
            raise ValueError(
                'no samples were counted: run model(...) inside the block of the counter, in the '
                'thread that opened it, or set counter.samples where other functions of the model '
                'were called'
            )
        self.counts = counts
        self.costs = get_costs(costs)
        self.name = name
        self.memory = get_memory(memory)
        self.origin = origin or Origin()
        self.quantised = quantised
        self.step_rates = list(step_rates)

    @cached_property
    def layers(self) -> list[LayerEnergy]:
        """One row per layer and product, in the order in which they ran."""
        return [self._layer(name, count) for name, count in self.counts.layers.items()]

    def _layer(self, name: str, count: LayerCount) -> LayerEnergy:
        n, mac, ac = self.counts.samples, self.costs.mac_pj, self.costs.ac_pj
        besides = count.analog_macs * mac + shifts_pj(count.shifts, self.costs)
        spiking_macs = count.macs - count.analog_macs
        rate = count.spikes / count.inputs if count.inputs else 0.0
        published = rate * spiking_macs
        taken = 'spikes' if count.inputs else 'analog'
        if count.inputs and count.analog_macs:
            taken = 'both'
        return LayerEnergy(
            name=name,
            stage=stage_of(name),
            kind=count.kind,
            input=taken,
            rate=rate if count.inputs else None,
            flops=count.macs_once / n,
            macs=count.analog_macs / n,
            sops=count.sops / n,
            sops_published=published / n,
            energy_pj=(count.sops * ac + besides) / n,
            energy_published_pj=(published * ac + besides) / n,
            ann_pj=count.macs_once * mac / n,
            bits=self.quantised.activation_bits(count),
            quantised_pj=self.quantised.network_pj(count) / n,
            quantised_ann_pj=self.quantised.ann_pj(count) / n,
            break_even=compare(of_layer(self.counts, name), self.quantised).break_even,
            memory_pj=self.memory.layer_pj(count) / n if self.memory else None,
            ann_memory_pj=self.memory.ann_pj(count) / n if self.memory else None,
        )

    @cached_property
    def neurons(self) -> list[NeuronRate]:
        """One row per layer of neurons, in the order of the model."""
        return [
            NeuronRate(
                name=name,
                stage=stage_of(name),
                rate=one.rate,
                active=one.active_fraction,
                max_spikes=one.max_spikes,
                timesteps=one.timesteps,
                updates=one.updates / self.counts.samples,
                memory_pj=(
                    self.memory.neurons_pj(one) / self.counts.samples if self.memory else None
                ),
            )
            for name, one in self.counts.neurons.items()
        ]

    @cached_property
    def totals(self) -> Totals:
        """Sums over all layers."""
        return Totals.of(self.layers, self.neurons, self.memory is not None)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Beside the quantised ANN: arithmetic alone, and with every memory model that is known."""
        memories = dict(MEMORIES, **({self.memory.name: self.memory} if self.memory else {}))
        return comparisons(self.counts, self.quantised, memories.values())

    def stages(self) -> dict[str, Totals]:
        """Sums over the layers of each stage."""

        def of_stage(name: str, rows: list) -> list:
            return [row for row in rows if row.stage == name]

        rows: list[LayerEnergy | NeuronRate] = [*self.layers]
        if self.memory:
            rows += self.neurons
        names = dict.fromkeys(row.stage for row in rows)
        return {
            name: Totals.of(
                of_stage(name, self.layers), of_stage(name, self.neurons), self.memory is not None
            )
            for name in names
        }

    @property
    def dead(self) -> list[str]:
        """Neuron layers whose rate is below :data:`DEAD_RATE`."""
        return [row.name for row in self.neurons if row.dead]

    @property
    def saturated(self) -> list[str]:
        """Neuron layers above :data:`SATURATED`."""
        return [row.name for row in self.neurons if row.saturated]

    def notes(self) -> list[str]:
        """Notes on the counting rules, and on operations on real numbers that are not counted."""
        notes = list(NOTES)
        if self.memory:
            notes.append(f'Memory: {self.memory.accesses}')
        notes += encoding_notes(self.counts, self.costs)
        if any(row.stage == 'roi_head' for row in self.layers):
            notes.append(REGIONS_NOTE)
        found: dict[str, list[int]] = {}
        for name, numbers in self.counts.real_functions.items():
            found.setdefault(name.rpartition(': ')[2], []).append(numbers)
        if not found:
            return notes
        texts = (
            f'{function} of {sum(numbers) / self.counts.samples:.4g} numbers ({len(numbers)}x)'
            for function, numbers in found.items()
        )
        text = f'{self.name} works on real numbers as well, not counted: {", ".join(texts)}.'
        return [*notes, text]

    def findings(self) -> dict[str, list[str]]:
        """Warnings for readers of the numbers, and the layers that they are about."""
        dead = f'dead neurons (rate below {DEAD_RATE:.1%})'
        if 2 * len(self.dead) > len(self.neurons):
            dead += (
                ', more than half of all; a network that hardly fires needs little energy whatever '
                'it computes, so the ratio to the ANN says little'
            )
        found = {
            dead: self.dead,
            f'saturated neurons (active or rate above {SATURATED:.0%} of the most)': self.saturated,
            'not counted, because there is no rule for their cost': self.counts.uncounted,
            'layers that never ran': self.counts.never_called,
        }
        return {what: list(names) for what, names in found.items() if names}

    def warnings(self) -> list[str]:
        """The findings as sentences, which name the first layers and the number of the others."""
        return [f'{what}: {some_of(names)}' for what, names in self.findings().items()]

    @property
    def ratio(self) -> float | None:
        """Energy of the ANN over that of the network; None if the ratio has no meaning.

        It does so of a network without neurons, of one that did nothing, and of random weights or
        images.
        """
        return self.totals.ratio if self.neurons and not self.origin.random else None

    def made_from(self) -> dict[str, str]:
        """The origin of the report, in words, by name."""
        origin, counts = self.origin, self.counts
        shapes = [f'{shape} ({n})' for shape, n in counts.input_shapes.items()]
        kinds = [f'{n} {kind}' for kind, n in counts.neuron_kinds.items()]
        words = {
            'network': self.name,
            'config': origin.config,
            'weights': origin.weights,
            'SHA-256 of the checkpoint': origin.checkpoint_sha256,
            'images': origin.images,
            'number of images': str(counts.samples),
            'shape of an image (images)': some_of(shapes),
            'T': f'{self.timesteps:g}' if self.neurons else None,
            'D': str(self.max_spikes) if self.neurons else None,
            'neuron layers': ', '.join(kinds),
            'encoding': self.counts.encoding if self.max_spikes > 1 else None,
            'costs': f'{self.costs.name}: {self.costs.mac_pj:g} pJ per MAC, '
            f'{self.costs.ac_pj:g} pJ per addition',
            'memory model': self.memory and self.memory.name,
            'versions': ', '.join(f'{name} {one}' for name, one in origin.versions.items()),
            'date': origin.date,
            'command': origin.command,
        }
        return {what: value for what, value in words.items() if value}

    @property
    def timesteps(self) -> float:
        """The largest number of time steps T of a neuron layer."""
        return max((row.timesteps for row in self.neurons), default=1)

    @property
    def max_spikes(self) -> int:
        """The most spikes of a neuron in one time step: D of integer neurons, otherwise 1."""
        return max((row.max_spikes for row in self.neurons), default=1)

    def to_dict(self) -> dict:
        """All numbers, for JSON."""
        totals = self.totals
        return dict(
            banner=self.origin.banner,
            name=self.name,
            origin=dict(
                asdict(self.origin), random=self.origin.random, D=self.max_spikes,
                neuron_kinds=self.counts.neuron_kinds, input_shapes=self.counts.input_shapes,
            ),
            samples=self.counts.samples,
            timesteps=self.timesteps,
            encoding=self.counts.encoding,
            costs=asdict(self.costs),
            **(dict(memory=asdict(cast(Any, self.memory))) if self.memory else {}),
            units=dict(energy='pJ per image, in totals and stages mJ per image',
                       operations='per image', rate='spikes per neuron and time step'),
            notes=self.notes(),
            totals=dict(
                self._values(totals), ratio=totals.ratio, ratio_published=totals.ratio_published,
                mean_rate=self.counts.mean_rate,
            ),
            stages={name: self._values(stage) for name, stage in self.stages().items()},
            quantised=dict(
                asdict(self.quantised), comparisons=[asdict(one) for one in self.comparisons]
            ),
            layers=[self._values(row) for row in self.layers],
            neurons=[self._values(row) for row in self.neurons],
            rates_by_step={one.name: one.rates.tolist() for one in self.step_rates},
            dead=self.dead,
            saturated=self.saturated,
            uncounted=dict(self.counts.uncounted),
            real_functions=dict(self.counts.real_functions),
            never_called=list(self.counts.never_called),
            warnings=self.warnings(),
        )  # fmt: skip

    def csv(self) -> str:
        """The layers as comma-separated values, with a line of names.

        Lines before it contain, after a ``#``, the origin of the numbers; ``pandas.read_csv``
        takes ``comment='#'``.
        """
        text = io.StringIO()
        banner = [self.origin.banner] if self.origin.banner else []
        for line in (*banner, *(f'{what}: {value}' for what, value in self.made_from().items())):
            text.write(f'# {" ".join(line.split())}\n')
        names = [name for name in LayerEnergy.__dataclass_fields__ if self._is_known(name)]
        writer = csv.DictWriter(text, names, lineterminator='\n')
        writer.writeheader()
        writer.writerows(self._values(row) for row in self.layers)
        return text.getvalue()

    def _values(self, row: LayerEnergy | NeuronRate | Totals) -> dict:
        return {name: value for name, value in asdict(row).items() if self._is_known(name)}

    def _is_known(self, name: str) -> bool:
        """Whether the report has this number. Energy of memory is optional."""
        return self.memory is not None or 'memory' not in name

    def write(self, folder: str | os.PathLike) -> list[Path]:
        """Deprecated: use :func:`mmspike.energy.write_report`."""
        warnings.warn(
            'EnergyReport.write(folder) is now mmspike.energy.write_report(report, folder)',
            DeprecationWarning,
            stacklevel=2,
        )
        # By name: files.py stands above this file.
        return import_module('mmspike.energy.files').write_report(self, folder)
