"""Classify digits."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from common import Evaluation, Task
from console import console
from mmpretrain.datasets import BaseDataset
from mmpretrain.evaluation import ConfusionMatrix
from mmpretrain.structures import DataSample
from pictures import (
    Prediction,
    confusion_table,
    draw_samples,
    plot_confusion,
    plot_training,
    sample_grid,
)
from rich.text import Text
from training import read_scalars

from mmspike.neurons import BaseNeuron
from mmspike.visualization.plots import plot_firing_rates

NUM_SAMPLES = 16


class Classification(Task):
    """Classify small grey images of digits."""

    title = 'classification'
    config = (
        'configs/classification/metaspikformer/'
        'metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'
    )
    scope = 'mmpretrain'
    metrics = {'top-1': ('accuracy/top1', 1)}
    unit_seconds = 9.5
    evaluation_seconds = 25.0

    def same(self, one: DataSample, other: DataSample) -> bool:
        return torch.equal(one.pred_label, other.pred_label)

    def image(self, dataset: BaseDataset, index: int) -> np.ndarray:
        """A sample as a grey picture ``(H, W)``, uint8."""
        return dataset.get_data_info(index)['img'][..., 0]

    def draw(self, evaluation: Evaluation) -> list[Path]:
        dataset = evaluation.runner.test_dataloader.dataset
        classes = dataset.metainfo['classes']
        predictions = [
            Prediction(
                image=self.image(dataset, i),
                truth=int(sample.gt_label[0]),
                label=int(sample.pred_label[0]),
                score=float(sample.pred_score.max()),
            )
            for i, sample in enumerate(evaluation.samples)
        ]
        truth, labels = (np.array([getattr(p, k) for p in predictions]) for k in ('truth', 'label'))
        matrix = ConfusionMatrix.calculate(labels, truth, num_classes=len(classes)).numpy()
        # Mistakes come first, because they tell most.
        samples = sorted(predictions, key=lambda p: p.truth == p.label)[:NUM_SAMPLES]
        self._print(matrix, classes, samples)

        figure, axes = plt.subplot_mosaic(
            [['training', 'confusion'], ['rates', 'rates']],
            figsize=(9, 6.6),
            height_ratios=(1.3, 1),
            layout='constrained',
        )
        self._plot_training(axes['training'])
        plot_confusion(axes['confusion'], matrix, classes)
        neurons = [m for m in evaluation.runner.model.modules() if isinstance(m, BaseNeuron)]
        max_rate = max(getattr(neuron, 'D', 1) for neuron in neurons)
        plot_firing_rates(axes['rates'], evaluation.energy.counts.rates(), max_rate)
        summary = self.save(figure, 'summary.png')
        figure = plt.figure(figsize=(9, 3.2), layout='constrained')
        draw_samples(figure, samples, classes)
        return [summary, self.save(figure, 'samples.png')]

    def _plot_training(self, axes: plt.Axes) -> None:
        iterations = self._iterations_per_unit()
        records = read_scalars(self.work_dir)
        plot_training(
            axes,
            [(r['step'] / iterations, r['loss']) for r in records if 'loss' in r],
            [(r['step'], r['accuracy/top1']) for r in records if 'accuracy/top1' in r],
        )

    def _print(self, matrix: np.ndarray, classes: list[str], samples: list[Prediction]) -> None:
        console.print(confusion_table(matrix, classes))
        if not console.is_terminal:  # coloured characters are for a terminal
            return
        width = samples[0].image.shape[1] + 2
        shown = samples[: max(1, (console.width + 2) // width)]
        console.print('predictions for test images, errors first')
        captions = [
            Text(
                f'{classes[p.label]} {p.score:.0%}'
                + ('' if p.label == p.truth else f' (is {classes[p.truth]})'),
                style='green' if p.label == p.truth else 'bold red',
            )
            for p in shown
        ]
        console.print(sample_grid([p.image for p in shown], captions, len(shown)))

    def next_commands(self, weights: Path) -> list[tuple[str, str]]:
        return [
            (
                'accuracy, and energy layer by layer',
                f'tools/analysis_tools/energy_report.py {self.config_path} {weights}',
            ),
            (
                'accuracy and energy over the share of dropped spikes',
                f'tools/analysis_tools/rsm_sweep.py {self.config_path} {weights}',
            ),
        ]
