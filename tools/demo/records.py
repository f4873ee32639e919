"""The demo's record of a training: its settings, and when it was finished."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmspike.files import atomic_write

# This file marks folders that the demo made and may delete. It contains the settings.
MARKER = '.mmspike-demo'
FINISHED = 'finished'
# Keys of a config on which no weight depends: they may change.
WITHOUT_EFFECT = (
    'default_hooks', 'env_cfg', 'log_level', 'log_processor', 'vis_backends', 'visualizer',
    'work_dir',
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        date: Day and time of the end.
        seconds: How long it took; None if that was not kept.
        resumed: Whether ``seconds`` counts from the last of several starts.
    """

    date: str
    seconds: float | None = None
    resumed: bool = False

    @property
    def took(self) -> str:
        """How long it took, in words."""
        if self.seconds is None:
            return 'earlier'
        return f'{self.seconds:.0f} s' + (' since it was resumed' if self.resumed else '')


def together(trainings: Sequence[Training]) -> Training:
    """Several trainings as one, with the time of all; not known if that of one is not."""
    times = [training.seconds for training in trainings]
    return Training(
        date=max(training.date for training in trainings),
        seconds=None if None in times else sum(times),
        resumed=any(training.resumed for training in trainings),
    )


class Record:
    """The record in one training's folder.

    Args:
        folder: The training's work directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def of_others(self) -> bool:
        """Whether the folder holds files, but not the demo's."""
        return (
            self.folder.exists()
            and any(self.folder.iterdir())
            and not (self.folder / MARKER).exists()
        )

    def changes(self, cfg: Config) -> list[str]:
        """How ``cfg`` differs from the settings that the training began with, value by value."""
        marker = self.folder / MARKER
        if not marker.exists() or not marker.read_text():
            return []  # nothing has begun, or its settings were not kept
        before, now = json.loads(marker.read_text()), values_of(cfg)
        return [
            f'{name} was {before.get(name, "not set")}, is {now.get(name, "not set")}'
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]

    def begin(self, cfg: Config) -> None:
        """Keep the settings, unless the training began earlier."""
        if not (self.folder / MARKER).exists():
            _write(self.folder / MARKER, values_of(cfg))

    def finish(self, seconds: float, resumed: bool) -> None:
        """Record the end of the training."""
        date = time.strftime('%Y-%m-%d %H:%M')
        _write(self.folder / FINISHED, dict(date=date, seconds=seconds, resumed=resumed))

    def finished(self) -> Training | None:
        """The finished training; None if there is none."""
        file = self.folder / FINISHED
        if not file.exists():
            return None
        if not file.read_text():  # the file alone, of earlier versions
            return Training(time.strftime('%Y-%m-%d %H:%M', time.localtime(file.stat().st_mtime)))
        return Training(**json.loads(file.read_text()))


def values_of(cfg: Config) -> dict[str, str]:
    """Values of a config that a training depends on, as text, by dotted name."""
    values = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            parts = value.items()
        elif isinstance(value, list | tuple) and any(isinstance(one, dict) for one in value):
            parts = enumerate(value)
        else:
            values[name] = repr(value)
            return
        for key, part in parts:
            visit(f'{name}.{key}' if name else str(key), part)

    content = cfg.to_dict()
    visit('', {key: value for key, value in content.items() if key not in WITHOUT_EFFECT})
    return values


def _write(path: Path, content: dict) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=1).encode())
