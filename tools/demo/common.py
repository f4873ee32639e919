"""What the demo's tasks share: training with a progress bar, evaluation, pictures."""

import io
import json
import math
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
from console import console
from executions import same_answers
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.utils.checkpoint import atomic_write, newest_checkpoint
from mmspike.utils.launch import adapt_to_devices

ROOT = Path(__file__).resolve().parents[2]
# In every folder that the demo made, and may therefore empty.
MARKER = '.mmspike-demo'
FINISHED = 'finished'


@dataclass(frozen=True)
class Result:
    """A line of the demo's last table.

    Attributes:
        title: Name of the task.
        metrics: Values in % by name.
        energy: What the operations on the test set cost.
        same: Images answered the same in integer and in spike-driven execution, of how many.
        parameters: Their number.
        training_time: In words.
        checkpoint: What was evaluated.
        pictures: Files drawn.
    """

    title: str
    metrics: dict[str, float]
    energy: EnergyReport
    same: tuple[int, int]
    parameters: int
    training_time: str
    checkpoint: Path
    pictures: list[Path]


@dataclass(frozen=True)
class Evaluation:
    """What one pass over the test set gave.

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


class Task(ABC):
    """One task of the demo. A subclass says which, and draws its pictures.

    Args:
        config_path: The config's file.
        cfg: Its content.
        root: Folder of the demo's outputs.
        options: Values that were overridden in the config, for the tools to do the same.
    """

    title: ClassVar[str]
    config: ClassVar[str]
    scope: ClassVar[str]
    # Name in the tables -> the host's name, and what makes it a percentage.
    metrics: ClassVar[dict[str, tuple[str, float]]]

    # Whether the backbone begins with the classifier's weights.
    pretrained: ClassVar[bool] = False

    def __init__(self, config_path: Path, cfg: Config, root: Path, options: dict) -> None:
        self.config_path, self.cfg = config_path, cfg
        self.work_dir = root / config_path.stem
        self.options = dict(options)
        self.training_time = 'earlier'
        used = self.work_dir.exists() and any(self.work_dir.iterdir())
        if used and not (self.work_dir / MARKER).exists():
            sys.exit(f'demo: {self.work_dir} holds files of others; name another --work-dir')

    @property
    def finished(self) -> bool:
        return (self.work_dir / FINISHED).exists() and self.checkpoint is not None

    @property
    def checkpoint(self) -> Path | None:
        return newest_checkpoint(self.work_dir)

    def start_anew(self) -> None:
        shutil.rmtree(self.work_dir, ignore_errors=True)

    def prepare(self) -> None:  # noqa: B027 (a task may have nothing to make)
        """Make the data, where it has to be made."""

    @abstractmethod
    def draw(self, evaluation: Evaluation) -> list[Path]:
        """Show results in the terminal and as pictures; return the files."""

    @abstractmethod
    def same(self, one: Any, other: Any) -> bool:
        """Whether two data samples hold the same answer."""

    def train(self) -> None:
        """Train with a progress bar, unless that was done before."""
        self.prepare()
        if self.finished:
            console.print(f'trained earlier: {self.checkpoint}', soft_wrap=True)
            return
        resumed = self.checkpoint is not None
        self.work_dir.mkdir(parents=True, exist_ok=True)
        (self.work_dir / MARKER).touch()
        if resumed:
            console.print('going on with the training that was interrupted')
        arguments = [str(self.config_path), '--work-dir', str(self.work_dir), '--resume']
        if self.options:
            arguments += ['--cfg-options', *(f'{k}={v}' for k, v in self.options.items())]
        columns = (
            TextColumn('training'),
            BarColumn(),
            TextColumn('{task.fields[position]}  {task.fields[status]}'),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task('training', total=1, position='starting', status='')
            unit, length, per_unit = self._length()

            def watch() -> None:
                records = read_scalars(self.work_dir)
                losses = [r for r in records if 'loss' in r]
                if not losses:
                    return
                status = f'loss {losses[-1]["loss"]:.3f}'
                for name, (key, scale) in self.metrics.items():
                    values = [r[key] for r in records if key in r]
                    if values:
                        status += f'  {name} {values[-1] * scale:.1f} %'
                done = losses[-1]['step'] / per_unit
                position = (
                    f'{unit} {done:.1f}/{length}' if per_unit > 1 else f'{unit} {done:.0f}/{length}'
                )
                progress.update(bar, total=length, completed=done, position=position, status=status)

            began = time.perf_counter()
            run_tool('train.py', arguments, self.work_dir / 'train.log', watch)
        (self.work_dir / FINISHED).touch()
        self.training_time = f'{time.perf_counter() - began:.0f} s'
        if resumed:
            self.training_time += ' since it was resumed'

    def _length(self) -> tuple[str, int, int]:
        """Unit of the training's length, how many of them, and iterations in one."""
        if self.cfg.train_cfg.get('type') == 'IterBasedTrainLoop':
            return 'iteration', self.cfg.train_cfg.max_iters, 1
        with redirect_stdout(io.StringIO()):  # the host's import prints
            init_default_scope(self.scope)
            images = len(DATASETS.build(self.cfg.train_dataloader.dataset))
        return (
            'epoch',
            self.cfg.train_cfg.max_epochs,
            math.ceil(images / self.cfg.train_dataloader.batch_size),
        )

    def report(self) -> Result:
        """Evaluate the last checkpoint, draw, and return the line for the table."""
        checkpoint = self.checkpoint
        evaluation = self._evaluate(checkpoint)
        pictures = self.draw(evaluation)
        return Result(
            title=self.title,
            metrics={
                name: evaluation.metrics[key] * scale for name, (key, scale) in self.metrics.items()
            },
            energy=evaluation.energy,
            same=same_answers(
                evaluation.runner.model, evaluation.runner.test_dataloader, self.same
            ),
            parameters=sum(p.numel() for p in evaluation.runner.model.parameters()),
            training_time=self.training_time,
            checkpoint=checkpoint,
            pictures=pictures,
        )

    def _evaluate(self, checkpoint: Path) -> Evaluation:
        """Run the test set through a model made anew, and count what it does."""
        cfg = self.cfg.copy()
        cfg.update(
            load_from=str(checkpoint), work_dir=str(self.work_dir / 'test'), log_level='ERROR'
        )
        cfg.model.backbone.pop('init_cfg', None)
        adapt_to_devices(cfg, 'none')
        columns = (TextColumn('evaluating'), BarColumn(), TimeElapsedColumn())
        with redirect_stdout(io.StringIO()), Progress(*columns, console=console) as progress:
            bar = progress.add_task('evaluating', total=None)
            runner = Runner.from_cfg(cfg)
            progress.update(bar, total=len(runner.test_dataloader))
            collector = Collector(lambda: progress.advance(bar))
            runner.register_hook(collector)
            with EnergyCounter(runner.model) as counter:
                metrics = runner.test()
        energy = EnergyReport(counter, name=self.title)
        energy.write(self.work_dir / 'energy')
        return Evaluation(runner, metrics, collector.samples, energy)

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


def read_scalars(work_dir: Path) -> list[dict]:
    """Scalars that the runs in ``work_dir`` have logged so far, oldest first."""
    records = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break  # a line that is being written
    return records


def run_tool(tool: str, arguments: list[str], log: Path, watch: Callable[[], None]) -> None:
    """Run a tool with its output in ``log``; ``watch`` is called again and again meanwhile."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'a') as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / 'tools' / tool), *arguments], stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                watch()
                time.sleep(0.3)
        except KeyboardInterrupt:
            process.wait()
            console.print('\nstopped; run the same command again to go on')
            sys.exit(130)
    watch()
    if process.returncode:
        console.print(''.join(log.read_text().splitlines(keepends=True)[-25:]), markup=False)
        sys.exit(f'demo: {tool} failed, its output is in {log}')
