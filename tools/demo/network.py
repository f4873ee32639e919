"""A network of the demo: its config, its training with a progress bar, its checkpoint."""

import math
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from console import console
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from progress import Steps
from records import Record, Training
from training import read_scalars, run_tool
from weights import leave_weights, weights_name

from mmspike.apis.config import load_config
from mmspike.files import newest_checkpoint

TRAINING = 'training'
# Seconds until tools/train.py finishes its first iteration.
START = 12.0


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


class Network:
    """A network of the demo and its training.

    Args:
        config_path: The config's file.
        cfg: Its content.
        options: Values that were overridden in the config, for the tools to do the same.
        demo: What it shares with the other networks.
    """

    title: str
    config: ClassVar[str]
    scope: ClassVar[str]
    # Name in the tables -> the host's name, and the factor to percent.
    metrics: ClassVar[dict[str, tuple[str, float]]]
    # Keys of the config that name weights to begin with which another training of the demo makes.
    begins_with: ClassVar[tuple[str, ...]] = ()
    # Seconds of an epoch or iteration with validation, on two cores. The remaining time follows
    # from them, corrected by the measured speed of the machine.
    unit_seconds: ClassVar[float]
    # Whether its weights are of use outside the demo.
    leaves_weights: ClassVar[bool] = True

    def __init__(self, config_path: Path, cfg: Config, options: dict, demo: Demo) -> None:
        self.config_path, self.cfg, self.options, self.demo = config_path, cfg, options, demo
        self.work_dir = demo.root / self.name
        self.record = Record(self.work_dir)
        self.left_weights: Path | None = None
        if self.record.of_others:
            sys.exit(f'demo: {self.work_dir} holds files of others; name another --work-dir')

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.config_path.stem

    @property
    def finished(self) -> Training | None:
        """The training, if it is finished."""
        return self.record.finished() if self.checkpoint else None

    @property
    def checkpoint(self) -> Path | None:
        return newest_checkpoint(self.work_dir)

    @classmethod
    def with_options(cls, options: dict, demo: Demo) -> Self:
        """The network of the class's own config with some values overridden."""
        return cls(Path(cls.config), load_config(cls.config, options), options, demo)

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
        return self.expected_training()

    def expected_training(self) -> dict[str, float]:
        """The steps of :meth:`expected` that belong to the training."""
        if self.finished:
            return {}
        left = self._units() - self._units_done()
        return {TRAINING: START + left * self.unit_seconds}

    def prepare(self) -> None:
        """Make the data, if that is necessary."""

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
        if self.demo.weights and self.leaves_weights:
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
        """Where the training is and what it reached, in at most 40 characters."""
        where = f'iter {done:.0f}' if self._by_iteration else f'epoch {done:.1f}'
        losses = [f'loss {record["loss"]:.2f}' for record in records if 'loss' in record]
        values = [
            f'{name} {record[key] * scale:.1f} %'
            for name, (key, scale) in list(self.metrics.items())[:1]
            for record in records
            if key in record
        ]
        return f'{where}/{self._units()}, {(values or losses)[-1]}'

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
        return math.ceil(self.num_images / self.cfg.train_dataloader.batch_size)

    @property
    def num_images(self) -> int:
        """Number of training images."""
        init_default_scope(self.scope)
        return len(DATASETS.build(self.cfg.train_dataloader.dataset))
