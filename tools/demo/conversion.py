"""Train MST, once more with most of the spikes of its attention masked, and run both on spikes."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from classification import Classification
from common import Evaluation
from console import console
from mmengine.registry import MODELS
from network import Network
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader

from mmspike.ann2snn import convert_to_spiking, simulate
from mmspike.apis.evaluation import evaluate
from mmspike.classifiers import AccuracyOverTime
from mmspike.energy import EnergyCounter, EnergyReport, Origin, write_report
from mmspike.visualization.plots import plot_accuracy_over_time
from mmspike.weights import load_weights

TIMESTEPS = 64
NETWORKS = ('all spikes', 'masked')


class Masked(Network):
    """The same network, fine-tuned while 75 % of the spikes of its self-attention are dropped."""

    title = 'MST, masked'
    config = 'configs/classification/mst/mst-digits-qcfs32-t1-rsm_1xb32-coslr-ft-10e_digits.py'
    scope = Classification.scope
    metrics = Classification.metrics
    begins_with = ('load_from', 'model.teacher_checkpoint')
    unit_seconds = 7.0


class Conversion(Classification):
    """Classify small grey images of digits, step by step."""

    title = 'MST, converted'
    config = 'configs/classification/mst/mst-digits-qcfs32-t1_1xb32-coslr-25e_digits.py'
    unit_seconds = 5.0

    @property
    def trainings(self) -> list[Network]:
        return [self, self._masked]

    @cached_property
    def _masked(self) -> Masked:
        """It begins with this network's weights, and learns from its answers."""
        return Masked.with_options(self.options, self.demo)

    def expected(self) -> dict[str, float]:
        steps = super().expected()
        return {**steps, **dict.fromkeys(map(simulation_of, NETWORKS), 25.0)}

    def train(self, weights: Path | None = None) -> None:
        super().train(weights)
        self._masked.train(self.checkpoint)

    def draw(self, evaluation: Evaluation) -> list[Path]:
        pictures = super().draw(evaluation)
        quantised = evaluation.metrics['accuracy/top1']
        curves, reports = {}, {}
        checkpoints = (self.checkpoint, self._masked.checkpoint)
        for name, checkpoint in zip(NETWORKS, checkpoints, strict=True):
            network = self._spiking(checkpoint)
            over_time = AccuracyOverTime()
            torch.manual_seed(0)  # masks are drawn
            with (
                self.demo.steps.step(self.title, simulation_of(name)) as update,
                EnergyCounter(network) as counter,
            ):
                evaluate(
                    network,
                    Watched(evaluation.runner.test_dataloader, update),
                    self.cfg.test_evaluator,
                    extra=[over_time],
                    console=Console(quiet=True),
                )
            curves[name] = over_time.curve
            origin = Origin.of(self.config_path, checkpoint, images='test data of the config')
            reports[name] = EnergyReport(counter, name=name, origin=origin)
            write_report(reports[name], self.work_dir / f'energy of {name}')
        console.print(over_time_table(curves, reports, quantised))
        figure, axes = plt.subplots(figsize=(7, 4.2), layout='constrained')
        plot_accuracy_over_time(axes, curves, {'without time': quantised})
        return [*pictures, self.save(figure, 'accuracy_over_time.png')]

    def next_commands(self, weights: Path) -> list[tuple[str, str]]:
        return [
            (
                'the conversion part by part, accuracy step by step',
                f'tools/ann2snn.py {self.config_path} {weights} --timesteps {TIMESTEPS}',
            )
        ]

    def _spiking(self, checkpoint: Path) -> nn.Module:
        """The network on spikes, its last norm acting on the mean over time."""
        cfg = self.cfg.model.copy()
        cfg.backbone.readout = True
        cfg.data_preprocessor = self.cfg.data_preprocessor
        network = MODELS.build(cfg)
        load_weights(network, checkpoint)  # masks come with them
        network.eval()
        spiking = convert_to_spiking(network)
        simulate(spiking, TIMESTEPS, scores_module='head')
        return spiking


class Watched:
    """A data loader that reports its progress.

    Args:
        loader: The data loader.
        update: Called with the share that is done, and words for it.
    """

    def __init__(self, loader: DataLoader, update: Callable[[float, str], None]) -> None:
        self.loader, self.dataset, self.update = loader, loader.dataset, update

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for i, batch in enumerate(self.loader, start=1):
            yield batch
            self.update(i / len(self), f'batch {i}/{len(self)}')


def simulation_of(network: str) -> str:
    """Name of the step that simulates it."""
    return f'{TIMESTEPS} steps, {network}'


def over_time_table(
    curves: dict[str, np.ndarray], reports: dict[str, EnergyReport], quantised: float
) -> Table:
    """Accuracy after steps 1, 2, 4 and so on, then the energy of all steps."""
    table = Table(
        title=f'on spikes, top-1 after t steps; {quantised:.2f} % without time',
        title_justify='left',
    )
    table.add_column('')
    for name in curves:
        table.add_column(name, justify='right')
    steps = 1
    while steps <= TIMESTEPS:
        table.add_row(f't = {steps}', *(f'{curve[steps - 1]:.2f} %' for curve in curves.values()))
        steps *= 2
    table.add_section()
    rows = (
        ('spikes per neuron and step', lambda one: f'{one.counts.mean_rate:.3f}'),
        ('SOPs per image', lambda one: f'{one.totals.sops / 1e6:.1f} M'),
        ('energy per image', lambda one: f'{one.totals.energy_mj:.4f} mJ'),
        ('the same as an ANN', lambda one: f'{one.totals.ann_mj:.4f} mJ'),
    )
    for title, show in rows:
        table.add_row(title, *(show(report) for report in reports.values()))
    return table
