"""Shared parts of the two tasks on scenes: the scenes, the backbone to begin with, pictures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from common import Task

from mmspike.datasets.digit_scenes import write_digit_scenes
from mmspike.visualization.scene_plots import Colour, class_handles

NUM_TRAIN, NUM_VAL = 800, 200
MAKING = 'making scenes'
SHOWN = 4


class SceneTask(Task):
    """A task on scenes of digits."""

    begins_with = ('model.backbone.init_cfg.checkpoint',)

    @property
    def _folder(self) -> Path:
        return Path(self.cfg.train_dataloader.dataset.data_root)

    @property
    def _scenes_are_there(self) -> bool:
        return (self._folder / 'scenes.json').exists()

    def expected(self) -> dict[str, float]:
        making = {} if self._scenes_are_there else {MAKING: 10.0}
        return {**making, **super().expected()}

    def prepare(self) -> None:
        if self._scenes_are_there:  # another task may have made them meanwhile
            self.demo.steps.skip(self.title, MAKING)
            return
        total = NUM_TRAIN + NUM_VAL
        with self.demo.steps.step(self.title, MAKING) as update:
            done = 0

            def on_scene() -> None:
                nonlocal done
                done += 1
                update(done / total, f'scene {done}/{total}')

            write_digit_scenes(
                self._folder, num_train=NUM_TRAIN, num_val=NUM_VAL, on_scene=on_scene
            )

    def next_commands(self, weights: Path) -> list[tuple[str, str]]:
        image = next(iter(sorted((self._folder / 'images/validation').iterdir())))
        return [
            (
                'the prediction for a scene, and firing maps',
                f'tools/image_demo.py {image} {self.config_path} {weights}',
            )
        ]


def grid(
    labels: Sequence[str], names: Sequence[str], colours: Sequence[Colour]
) -> tuple[plt.Figure, np.ndarray]:
    """A figure with a row of :data:`SHOWN` scenes for each label, and the legend of the classes."""
    figure, axes = plt.subplots(
        len(labels), SHOWN, figsize=(2.1 * SHOWN + 0.3, 2.1 * len(labels) + 0.45),
        layout='constrained',
    )  # fmt: skip
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for line, label in zip(axes, labels, strict=True):
        for one in line:
            one.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, fontsize=11)
    figure.legend(
        handles=class_handles(colours, names), loc='outside lower center', ncols=len(names),
        frameon=False, fontsize=11, handletextpad=0.1, columnspacing=1.2, title='digit',
    )  # fmt: skip
    return figure, axes
