"""Pre-train SDT v3 large without labels; compare classifiers with and without it on few labels."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import matplotlib.pyplot as plt
import numpy as np
import torch
from baseline import svm_accuracy
from classification import Classification
from common import Evaluation, Result
from console import console
from mmengine.registry import DATASETS
from network import Demo, Network
from pictures import plot_seeds, seed_table
from records import together
from rich.console import Console

from mmspike.apis.evaluation import build_test_loader, evaluate
from mmspike.apis.model import build_model
from mmspike.selfsup.pictures import picture

NUM_SEEDS = 3
NUM_RECONSTRUCTIONS = 8
# Two thirds of the recipe's epochs: with more of them, classifiers were not better.
SHORTER = {'train_cfg.max_epochs': 20, 'param_scheduler.1.T_max': 17, 'param_scheduler.1.end': 20}
COMPARISON = 'networks of all seeds'
PRETRAINED, SCRATCH, PIXELS = 'pre-trained', 'from scratch', 'SVM on pixels'


class PreTraining(Network):
    """The masked autoencoder; it sees all training images, and no label."""

    title = 'SMAE, pre-training'
    config = 'configs/selfsup/smae/smae-digits-sfa-t1d4_1xb32-coslr-30e_digits.py'
    scope = 'mmpretrain'
    metrics = {}
    unit_seconds = 8.0

    @classmethod
    def with_options(cls, options: dict, demo: Demo) -> Self:
        """The recipe in fewer epochs, and without a test: options of one do not concern it."""
        own = {k: v for k, v in options.items() if not k.startswith(('val_', 'test_'))}
        return super().with_options({**SHORTER, **own}, demo)


class FewLabels(Network):
    """A classifier that begins with the pre-trained encoder and learns from a tenth of the labels.

    Its seed draws the labels, the first weights and the batches.
    """

    title = 'SMAE'
    config = (
        'configs/classification/sdt_v3_large/'
        'sdtv3-digits-sfa-t1d4_smae-pre_1xb16-coslr-30e_digits-10pct.py'
    )
    scope = Classification.scope
    metrics = Classification.metrics
    begins_with: ClassVar[tuple[str, ...]] = ('model.backbone.init_cfg.checkpoint',)
    leaves_weights = False
    unit_seconds = 1.1

    @property
    def seed(self) -> int:
        return self.cfg.randomness.seed

    @property
    def name(self) -> str:
        return f'{super().name}_seed-{self.seed}'

    @classmethod
    def with_seed(cls, seed: int, options: dict, demo: Demo) -> Self:
        """The network of a seed."""
        seeds = {'randomness.seed': seed, 'train_dataloader.dataset.seed': seed}
        network = cls.with_options({**options, **seeds}, demo)
        network.title = f'{cls.title}, seed {seed}'
        return network


class FromScratch(FewLabels):
    """The same classifier, trained in the same way, but it begins with random weights."""

    title = 'scratch'
    begins_with = ()

    @property
    def name(self) -> str:
        return f'{super().name}_scratch'

    @classmethod
    def with_seed(cls, seed: int, options: dict, demo: Demo) -> Self:
        return super().with_seed(seed, {**options, 'model.backbone.init_cfg': None}, demo)


class MaskedPreTraining(FewLabels, Classification):
    """Which digit a small grey image shows, learned from few labels.

    The network of the first seed is evaluated as the networks of all tasks. Those of the other
    seeds, and those without pre-training, are compared with it.
    """

    evaluation_seconds = 20.0

    @cached_property
    def pretraining(self) -> PreTraining:
        """The network that all others begin with, except those from scratch."""
        return PreTraining.with_options(self.options, self.demo)

    @cached_property
    def networks(self) -> dict[str, list[FewLabels]]:
        """The networks that are compared."""
        seeds = range(self.seed, self.seed + NUM_SEEDS)

        def of(kind: type[FewLabels], seeds: range) -> list[FewLabels]:
            return [kind.with_seed(seed, self.options, self.demo) for seed in seeds]

        return {
            PRETRAINED: [self, *of(FewLabels, seeds[1:])],
            SCRATCH: of(FromScratch, seeds),
        }

    @property
    def trainings(self) -> list[Network]:
        return [self.pretraining, *self._all_networks()]

    def _all_networks(self) -> Iterator[FewLabels]:
        for networks in self.networks.values():
            yield from networks

    def expected(self) -> dict[str, float]:
        return {**super().expected(), COMPARISON: 15.0}

    def train(self, weights: Path | None = None) -> None:
        self.pretraining.train()
        encoder = self.pretraining.checkpoint
        super().train(encoder)
        for network in self._all_networks():
            if network is not self:
                network.train(encoder)

    def draw(self, evaluation: Evaluation) -> list[Path]:
        pictures = super().draw(evaluation)
        title = f'top-1 with {self.num_images} labels'
        console.print(seed_table(self.accuracies, self.seed, title))
        figure, axes = plt.subplots(figsize=(6, 4.2), layout='constrained')
        plot_seeds(axes, self.accuracies, title)
        return [
            *pictures,
            self.save(figure, 'few_labels.png'),
            self.save(self._reconstructions(evaluation), 'reconstructions.png'),
        ]

    @cached_property
    def accuracies(self) -> dict[str, list[float]]:
        """Top-1 in % on the test set, a number per seed: both networks, and no network."""
        loader = build_test_loader(self.cfg)
        total, done = len(list(self._all_networks())), 0
        found: dict[str, list[float]] = {name: [] for name in self.networks}
        with self.demo.steps.step(self.title, COMPARISON) as update:
            for name, networks in self.networks.items():
                for network in networks:
                    model = build_model(network.cfg, network.checkpoint)
                    metrics = evaluate(
                        model, loader, self.cfg.test_evaluator, console=Console(quiet=True)
                    )
                    found[name].append(metrics['accuracy/top1'])
                    done += 1
                    update(done / total, f'network {done}/{total}')
        found[PIXELS] = [
            svm_accuracy(DATASETS.build(network.cfg.train_dataloader.dataset), loader.dataset)
            for network in self.networks[PRETRAINED]
        ]
        return found

    def _reconstructions(self, evaluation: Evaluation) -> plt.Figure:
        """What the autoencoder makes of test images, which it never saw."""
        model = build_model(self.pretraining.cfg, self.pretraining.checkpoint)
        dataset = evaluation.runner.test_dataloader.dataset
        shown = range(min(NUM_RECONSTRUCTIONS, len(dataset)))
        inputs = torch.stack([dataset[i]['inputs'] for i in shown])
        batch = model.data_preprocessor(dict(inputs=inputs, data_samples=[]))
        torch.manual_seed(0)  # masks are drawn
        return picture(model, batch['inputs'])

    def report(self) -> Result:
        result = super().report()
        means = {name: float(np.mean(values)) for name, values in self.accuracies.items()}
        metrics = {'mean top-1': means[PRETRAINED], SCRATCH: means[SCRATCH]}
        trainings = together([network.finished for network in self.trainings])
        return replace(result, metrics=metrics, training_time=trainings.took)

    def next_commands(self, weights: Path) -> list[tuple[str, str]]:
        encoder = self.pretraining.left_weights or self.pretraining.checkpoint
        return [
            *super().next_commands(weights)[:1],
            (
                'reconstructions of any images',
                'tools/analysis_tools/visualize_reconstruction.py '
                f'{self.pretraining.config_path} {encoder} docs/images/digit.png',
            ),
        ]
