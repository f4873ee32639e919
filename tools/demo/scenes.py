"""What the two tasks on scenes share: the scenes, the backbone to begin with, overlays."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from common import Evaluation, Task
from console import console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmspike.datasets.digit_scenes import write_digit_scenes
from mmspike.visualization import terminal

NUM_TRAIN, NUM_VAL = 800, 200
SHOWN = 6


class SceneTask(Task):
    """A task on scenes of digits."""

    pretrained = True

    def prepare(self) -> None:
        folder = Path(self.cfg.train_dataloader.dataset.data_root)
        if (folder / 'scenes.json').exists():
            return
        columns = (
            TextColumn('making scenes'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task('scenes', total=NUM_TRAIN + NUM_VAL)
            write_digit_scenes(
                folder,
                num_train=NUM_TRAIN,
                num_val=NUM_VAL,
                on_scene=lambda: progress.advance(bar),
            )

    def report_rates(self, evaluation: Evaluation) -> None:
        console.print(
            terminal.firing_rate_table(
                evaluation.energy.counts.rates(), 'firing rates on the validation scenes'
            )
        )


def grid(labels: Sequence[str]) -> tuple[plt.Figure, np.ndarray]:
    """A figure with a row of :data:`SHOWN` scenes for each label."""
    figure, axes = plt.subplots(len(labels), SHOWN, figsize=(2 * SHOWN, 2 * len(labels)))
    for line, label in zip(axes, labels, strict=True):
        for one in line:
            one.set(xticks=[], yticks=[])
        line[0].set_ylabel(label)
    figure.subplots_adjust(0.03, 0.01, 0.995, 0.99, wspace=0.03, hspace=0.03)
    return figure, axes
