"""Classify digits that a simulated event camera saw."""

from pathlib import Path

import numpy as np
from classification import Classification
from common import Evaluation
from mmpretrain.datasets import BaseDataset

from mmspike.visualization.event_plots import event_strip

NUM_RECORDINGS = 4


class Events(Classification):
    """Classify digits that moved in front of an event camera."""

    title = 'event camera'
    config = 'configs/classification/sdt/sdt-1-64-lif-t8_1xb32-tet-coslr-15e_event-digits.py'
    unit_seconds = 6.0

    def image(self, dataset: BaseDataset, index: int) -> np.ndarray:
        """All events of a recording in one picture."""
        events = frames(dataset, index).sum((0, 1))
        return (255 * np.minimum(events / max(np.quantile(events, 0.99), 1), 1)).astype(np.uint8)

    def draw(self, evaluation: Evaluation) -> list[Path]:
        pictures = super().draw(evaluation)
        dataset = evaluation.runner.test_dataloader.dataset
        classes = dataset.metainfo['classes']
        shown = evaluation.samples[:NUM_RECORDINGS]
        strip = event_strip(
            [frames(dataset, i) for i in range(len(shown))],
            [
                f'{classes[int(one.gt_label)]}, answer {classes[int(one.pred_label)]}'
                for one in shown
            ],
        )
        return [*pictures, self.save(strip, 'events.png')]

    def next_commands(self, weights: Path) -> list[tuple[str, str]]:
        return [
            (
                'inputs of the network: event frames as a strip and a GIF',
                f'tools/analysis_tools/visualize_events.py {self.config_path}',
            ),
            *super().next_commands(weights)[:1],
        ]


def frames(dataset: BaseDataset, index: int) -> np.ndarray:
    """Input of the network: counts of events ``(T, 2, H, W)``."""
    return np.asarray(dataset[index]['inputs'])
