"""Shared parts of the demo's tasks: training with a progress bar, evaluation, pictures."""

import io
import math
import re
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
from console import console
from executions import BATCHES, same_answers
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from progress import Steps
from records import Record, Training
from rich.console import Console
from training import read_scalars, run_tool
from weights import leave_weights, weights_name

from mmspike.apis.launch import adapt_to_devices
from mmspike.energy import EnergyCounter, EnergyReport, Origin
from mmspike.files import atomic_write, newest_checkpoint
from mmspike.visualization.terminal import firing_rate_table

TRAINING, EVALUATION = 'training', 'evaluation'
# Seconds until tools/train.py finishes its first iteration.
START = 12.0


@dataclass(frozen=True)
class Result:
    """A column of the demo's last table.

    Attributes:
        title: Name of the task.
        metrics: Values in % by name.
        energy: Energy of the operations on the test set.
        same: Number of images with equal answers in both executions, and number of images.
        parameters: Their number.
        training_time: In words.
        regions: Whether the network works on regions that it chooses.
        pictures: Files drawn.
    """

    title: str
    metrics: dict[str, float]
    energy: EnergyReport
    same: tuple[int, int]
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


@dataclass(frozen=True)
class Demo:
    """Objects that the tasks of one run share.

    Attributes:
        root: Folder of the outputs.
        weights: Folder to leave trained weights in; None leaves none.
        steps: Shows how far the demo is.
    """

    root: Path
    weights: Path | None
    steps: Steps


class Task(ABC):
    """One task of the demo. A subclass says which, and draws its pictures.

    Args:
        config_path: The config's file.
        cfg: Its content.
        options: Values that were overridden in the config, for the tools to do the same.
        demo: What it shares with the other tasks.
    """

    title: ClassVar[str]
    config: ClassVar[str]
    scope: ClassVar[str]
    # Name in the tables -> the host's name, and the factor to percent.
    metrics: ClassVar[dict[str, tuple[str, float]]]
    # Keys of the config that name weights to begin with which another training of the demo makes.
    begins_with: ClassVar[tuple[str, ...]] = ()
    # Seconds on two cores: of an epoch or iteration with validation, and of the evaluation. The
    # remaining time follows from them, corrected by the measured speed of the machine.
    unit_seconds: ClassVar[float]
    evaluation_seconds: ClassVar[float]

    def __init__(self, config_path: Path, cfg: Config, options: dict, demo: Demo) -> None:
        self.config_path, self.cfg, self.options, self.demo = config_path, cfg, options, demo
        self.work_dir = demo.root / config_path.stem
        self.record = Record(self.work_dir)
        self.left_weights: Path | None = None
        if self.record.of_others:
            sys.exit(f'demo: {self.work_dir} holds files of others; name another --work-dir')

    @property
    def finished(self) -> Training | None:
        """The training, if it is finished."""
        return self.record.finished() if self.checkpoint else None

    @property
    def checkpoint(self) -> Path | None:
        return newest_checkpoint(self.work_dir)

    @property
    def trainings(self) -> list['Task']:
        """The task itself, and others that are trained for it."""
        return [self]

    def refuse_other_settings(self) -> None:
        """Exit with a message if the work directory holds a training with other settings."""
        changes = self.record.changes(self.cfg)
        if changes:
            more = f' (and {len(changes) - 5} more)' if len(changes) > 5 else ''
            sys.exit(
                f'demo: {self.work_dir} holds a training with other settings:\n  '
                + '\n  '.join(changes[:5])
                + more
                + '\n--fresh deletes it and starts again; --work-dir FOLDER keeps it and trains '
                'elsewhere'
            )

    def start_anew(self) -> None:
        """Delete the training."""
        shutil.rmtree(self.work_dir, ignore_errors=True)

    def expected(self) -> dict[str, float]:
        """Steps ahead, and their seconds on the machine of the README."""
        return {**self.expected_training(), EVALUATION: self.evaluation_seconds}

    def expected_training(self) -> dict[str, float]:
        """The steps of :meth:`expected` that belong to the training."""
        if self.finished:
            return {}
        left = self._units() - self._units_done()
        return {TRAINING: START + left * self.unit_seconds}

    def prepare(self) -> None:  # noqa: B027 (a task may have nothing to make)
        """Make the data, if that is necessary."""

    @abstractmethod
    def draw(self, evaluation: Evaluation) -> list[Path]:
        """Show results in the terminal and as pictures; return the files."""

    @abstractmethod
    def same(self, one: Any, other: Any) -> bool:
        """Whether two data samples hold the same answer."""

    @abstractmethod
    def next_commands(self, weights: Path) -> list[tuple[str, str]]:
        """Uses of the trained weights: purpose, and tool with arguments."""

    def train(self, weights: Path | None = None) -> None:
        """Train with a progress bar, unless the training is finished.

        Args:
            weights: Checkpoint to begin with, of another training of the demo.
        """
        self.prepare()
        if self.finished:
            console.print(
                f'{self.title}: trained on {self.finished.date}: reused; --fresh starts again'
            )
        else:
            begin = dict.fromkeys(self.begins_with, weights) if weights else {}
            self._train({**self.options, **begin})
        if self.demo.weights:
            self.left_weights = leave_weights(self.checkpoint, self.config_path, self.demo.weights)
            if self.left_weights is None:
                name = self.demo.weights / weights_name(self.config_path)
                console.print(f'{name} is no file of the demo and stays as it is', soft_wrap=True)

    def _train(self, options: dict) -> None:
        resumed, first = self.checkpoint is not None, self._units_done()
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.record.begin(self.cfg)
        if resumed:
            console.print(f'{self.title}: resuming the interrupted training')
        arguments = [str(self.config_path), '--work-dir', str(self.work_dir), '--resume']
        if options:
            arguments += ['--cfg-options', *(f'{k}={v}' for k, v in options.items())]
        length, per_unit = self._units(), self._iterations_per_unit()
        earlier = len(read_scalars(self.work_dir))
        began = time.perf_counter()
        with self.demo.steps.step(self.title, TRAINING) as update:

            def watch() -> None:
                records = read_scalars(self.work_dir)
                losses = [record for record in records[earlier:] if 'loss' in record]
                if losses:
                    done = losses[-1]['step'] / per_unit
                    trained = (done - first) * self.unit_seconds
                    expected = (length - first) * self.unit_seconds
                    update((START + trained) / (START + expected), self._position(done, records))

            run_tool('train.py', arguments, self.work_dir / 'train.log', watch)
        self.record.finish(time.perf_counter() - began, resumed)

    def _position(self, done: float, records: list[dict]) -> str:
        """Where the training is, in at most 40 characters."""
        if self._by_iteration:
            words = [f'iter {done:.0f}/{self._units()}']
        else:
            words = [f'epoch {done:.1f}/{self._units()}']
        words.append(f'loss {[r["loss"] for r in records if "loss" in r][-1]:.2f}')
        name, (key, scale) = next(iter(self.metrics.items()))
        values = [record[key] for record in records if key in record]
        if values:
            words.append(f'{name} {values[-1] * scale:.1f} %')
        return ', '.join(words)

    @property
    def _by_iteration(self) -> bool:
        return self.cfg.train_cfg.get('type') == 'IterBasedTrainLoop'

    def _units(self) -> int:
        """Length of the training in epochs, or in iterations if its config counts those."""
        return self.cfg.train_cfg.max_iters if self._by_iteration else self.cfg.train_cfg.max_epochs

    def _units_done(self) -> int:
        number = re.search(r'_(\d+)$', self.checkpoint.stem) if self.checkpoint else None
        return int(number[1]) if number else 0

    def _iterations_per_unit(self) -> int:
        if self._by_iteration:
            return 1
        init_default_scope(self.scope)
        images = len(DATASETS.build(self.cfg.train_dataloader.dataset))
        return math.ceil(images / self.cfg.train_dataloader.batch_size)

    def report(self) -> Result:
        """Evaluate the last checkpoint, draw, and return the column for the table."""
        with self.demo.steps.step(self.title, EVALUATION) as update:
            evaluation, same = self._evaluate(update)
        pictures = self.draw(evaluation)
        return Result(
            title=self.title,
            metrics={
                name: evaluation.metrics[key] * scale for name, (key, scale) in self.metrics.items()
            },
            energy=evaluation.energy,
            same=same,
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
