"""Shared parts of the demo's tasks: evaluation, pictures, results."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
from console import console
from deployment import FileRun, run_as_file
from executions import BATCHES, same_answers
from mmengine.hooks import Hook
from mmengine.runner import Runner
from network import Network
from rich.console import Console

from mmspike.apis.launch import adapt_to_devices
from mmspike.energy import EnergyCounter, EnergyReport, Origin
from mmspike.files import atomic_write
from mmspike.visualization.terminal import firing_rate_table

EVALUATION = 'evaluation'


@dataclass(frozen=True)
class Result:
    """A column of the demo's last table.

    Attributes:
        title: Name of the task.
        metrics: Values in % by name.
        energy: Energy of the operations on the test set.
        same: Number of images with equal answers in both executions, and number of images.
        file: The network as an int8 file; None if it was not exported.
        parameters: Their number.
        training_time: In words.
        regions: Whether the network works on regions that it chooses.
        pictures: Files drawn.
    """

    title: str
    metrics: dict[str, float]
    energy: EnergyReport
    same: tuple[int, int]
    file: FileRun | None
    parameters: int
    training_time: str
    regions: bool
    pictures: list[Path]


@dataclass(frozen=True)
class Evaluation:
    """Results of one pass over the test set.

    Attributes:
        runner: The Runner that made it.
        metrics: The host's metrics.
        samples: Data samples with truth and prediction, all of them.
        energy: Firing rates and operations by layer.
    """

    runner: Runner
    metrics: dict[str, float]
    samples: list
    energy: EnergyReport


class Task(Network, ABC):
    """One task of the demo: a network that is evaluated. A subclass draws its pictures.

    Arguments are those of :class:`~network.Network`.
    """

    # Seconds of the evaluation, on two cores.
    evaluation_seconds: ClassVar[float]

    @property
    def trainings(self) -> list[Network]:
        """The task itself, and other networks that are trained for it."""
        return [self]

    def expected(self) -> dict[str, float]:
        return {**self.expected_training(), EVALUATION: self.evaluation_seconds}

    @abstractmethod
    def draw(self, evaluation: Evaluation) -> list[Path]:
        """Show results in the terminal and as pictures; return the files."""

    @abstractmethod
    def same(self, one: Any, other: Any) -> bool:
        """Whether two data samples hold the same answer."""

    @abstractmethod
    def next_commands(self, weights: Path) -> list[tuple[str, str]]:
        """Uses of the trained weights: purpose, and tool with arguments."""

    def report(self) -> Result:
        """Evaluate the last checkpoint, draw, and return the column for the table."""
        with self.demo.steps.step(self.title, EVALUATION) as update:
            evaluation, same = self._evaluate(update)
            file = self._as_file(evaluation.runner)
        pictures = self.draw(evaluation)
        return Result(
            title=self.title,
            metrics={
                name: evaluation.metrics[key] * scale for name, (key, scale) in self.metrics.items()
            },
            energy=evaluation.energy,
            same=same,
            file=file,
            parameters=sum(p.numel() for p in evaluation.runner.model.parameters()),
            training_time=self.finished.took,
            regions='roi_head' in self.cfg.model,
            pictures=pictures,
        )

    def _evaluate(self, update: Callable[[float, str], None]) -> tuple[Evaluation, tuple[int, int]]:
        """Evaluate a new model on the test set, count its operations, then compare executions.

        Returns:
            The evaluation, and numbers of images: those with equal answers in both executions, all.
        """
        cfg = self.cfg.copy()
        cfg.update(
            load_from=str(self.checkpoint), work_dir=str(self.work_dir / 'test'), log_level='ERROR'
        )
        cfg.model.backbone.pop('init_cfg', None)
        adapt_to_devices(cfg, 'none')
        runner = Runner.from_cfg(cfg)
        batches = len(runner.test_dataloader)
        # In two executions.
        total = batches + 2 * min(BATCHES, batches)
        done = 0

        def on_batch() -> None:
            nonlocal done
            done += 1
            update(done / total, f'batch {done}/{total}')

        collector = Collector(on_batch)
        runner.register_hook(collector)
        with EnergyCounter(runner.model) as counter:
            metrics = runner.test()
        origin = Origin.of(self.config_path, self.checkpoint, images='test data of the config')
        energy = EnergyReport(counter, name=self.title, origin=origin)
        energy.write(self.work_dir / 'energy')
        self._write_rates(energy)
        same = same_answers(runner.model, runner.test_dataloader, self.same, on_batch)
        return Evaluation(runner, metrics, collector.samples, energy), same

    def _as_file(self, runner: Runner) -> FileRun | None:
        return run_as_file(
            self.cfg,
            runner.model,
            runner.test_dataloader,
            self.same,
            self.work_dir / 'int8.onnx',
        )

    def _write_rates(self, energy: EnergyReport) -> None:
        """Firing rates of all layers: a file, because there are up to a hundred."""
        path = self.work_dir / 'firing_rates.txt'
        text = io.StringIO()
        table = firing_rate_table(energy.counts.rates(), 'firing rates on the test set')
        Console(file=text, width=100).print(table)
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())
        console.print(f'firing rates of all layers: {path}', soft_wrap=True)

    def save(self, figure: plt.Figure, name: str) -> Path:
        path = self.work_dir / 'pictures' / name
        with atomic_write(path) as file:
            figure.savefig(file, format='png', dpi=150)
        plt.close(figure)
        return path


class Collector(Hook):
    """Keep the data samples of a test run.

    Args:
        on_batch: Called after every batch.
    """

    def __init__(self, on_batch: Callable[[], None]) -> None:
        self.samples: list = []
        self.on_batch = on_batch

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                        outputs: Any = None) -> None:  # fmt: skip
        self.samples += outputs
        self.on_batch()
