"""Train MST, once more with most of the spikes of its attention masked, and run both on spikes."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from classification import Classification
from common import Evaluation
from console import console
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from rich.table import Table
from torch import nn

from mmspike.conversion import convert_to_spiking, simulate
from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.evaluation import AccuracyOverTime
from mmspike.utils.config import load_config
from mmspike.utils.evaluation import evaluate
from mmspike.visualization.plots import plot_accuracy_over_time

TIMESTEPS = 64


class Masked(Classification):
    """The same network, fine-tuned while 75 % of the spikes of its self-attention are dropped."""

    title = 'MST, masked'
    config = 'configs/classification/mst/mst-digits-qcfs32-t1-rsm_1xb32-coslr-ft-10e_digits.py'


class Conversion(Classification):
    """Which digit a small grey image shows, step by step."""

    title = 'MST, converted'
    config = 'configs/classification/mst/mst-digits-qcfs32-t1_1xb32-coslr-25e_digits.py'

    def __init__(self, config_path: Path, cfg: Config, root: Path, options: dict) -> None:
        super().__init__(config_path, cfg, root, options)
        self.root = root

    def train(self) -> None:
        super().train()
        console.print(Masked.__doc__)
        self._masked().train()

    def start_anew(self) -> None:
        self._masked().start_anew()
        super().start_anew()

    def _masked(self) -> Masked:
        """It begins with this network's weights, and learns from its answers."""
        weights = str(self.checkpoint)
        options = {**self.options, 'load_from': weights, 'model.teacher_checkpoint': weights}
        cfg = load_config(Masked.config, options)
        return Masked(Path(Masked.config), cfg, self.root, options)

    def draw(self, evaluation: Evaluation) -> list[Path]:
        pictures = super().draw(evaluation)
        quantised = evaluation.metrics['accuracy/top1']
        curves, reports = {}, {}
        networks = {'all spikes': self.checkpoint, 'masked': self._masked().checkpoint}
        for name, checkpoint in networks.items():
            network = self._spiking(checkpoint)
            over_time = AccuracyOverTime()
            torch.manual_seed(0)  # masks are drawn
            with EnergyCounter(network) as counter:
                evaluate(
                    network,
                    evaluation.runner.test_dataloader,
                    self.cfg.test_evaluator,
                    extra=[over_time],
                    title=f'{TIMESTEPS} steps, {name}',
                    console=console,
                )
            curves[name] = over_time.curve
            reports[name] = EnergyReport(counter, name=name)
            reports[name].write(self.work_dir / f'energy of {name}')
        console.print(over_time_table(curves, reports, quantised))
        figure, axes = plt.subplots(figsize=(7, 4.2), layout='constrained')
        plot_accuracy_over_time(axes, curves, {'without time': quantised})
        return [*pictures, self.save(figure, 'accuracy_over_time.png')]

    def _spiking(self, checkpoint: Path) -> nn.Module:
        """The network on spikes, its last norm acting on the mean over time."""
        cfg = self.cfg.model.copy()
        cfg.backbone.readout = True
        cfg.data_preprocessor = self.cfg.data_preprocessor
        network = MODELS.build(cfg)
        # Masks come with the weights.
        load_checkpoint(network, str(checkpoint), map_location='cpu', logger='silent')
        network.eval()
        spiking = convert_to_spiking(network)
        simulate(spiking, TIMESTEPS, answer='head')
        return spiking


def over_time_table(
    curves: dict[str, np.ndarray], reports: dict[str, EnergyReport], quantised: float
) -> Table:
    """Accuracy after steps 1, 2, 4 and so on, then what all steps cost."""
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
