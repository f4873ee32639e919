"""Accuracy after every time step, from one simulation."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmspike.files import atomic_write
from mmspike.registry import METRICS


@METRICS.register_module()
class AccuracyOverTime(BaseMetric):
    """Top-1 accuracy in % after t steps, for all t, of a model whose simulation keeps its answers.

    The log has it for t = 1, 2, 4, ... and the last; :attr:`curve` and ``out_file`` have all. Where
    the simulation stops early (``patience``), a sample counts with its last answer from then on,
    and ``exit_step`` is the mean number of steps until the answers were stable.

    Args:
        out_file: JSON file to write.
        collect_device: See ``mmengine.evaluator.BaseMetric``.
        prefix: See ``mmengine.evaluator.BaseMetric``.

    Attributes:
        curve: Accuracy in % after each step, float64 ``(T,)``, of the last evaluation.

    Raises:
        ValueError: Samples have no scores over time: the model is not simulated with ``answer``
            (see :func:`mmspike.ann2snn.simulate`).
    """

    default_prefix = 'accuracy'

    def __init__(
        self, out_file: str | None = None, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out_file = out_file
        self.curve: np.ndarray | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep, per sample, after which steps the answer was right."""
        for sample in data_samples:
            scores = sample.get('scores_over_time')
            if scores is None:
                raise ValueError(
                    "samples have no scores_over_time: the model's simulation needs "
                    'scores_module, the name of the module whose outputs are the scores, for '
                    "instance 'head.fc'"
                )
            right = scores.argmax(-1) == sample['gt_label'].to(scores.device)
            exit_step = sample.get('exit_step')
            if exit_step is not None:
                # Later steps, which the simulation computed for others of the batch, do not count.
                right = right[:exit_step]
            self.results.append((right.cpu(), exit_step))

    def compute_metrics(self, results: list[tuple[Tensor, int | None]]) -> dict[str, float]:
        """Means over the samples."""
        steps = max(len(right) for right, _ in results)
        sums = torch.zeros(steps, dtype=torch.float64)
        for right, _ in results:
            sums[: len(right)] += right
            sums[len(right) :] += right[-1].double()
        self.curve = (100 * sums / len(results)).numpy()
        shown = sorted({2**i for i in range(steps.bit_length()) if 2**i <= steps} | {steps})
        metrics = {f'top1@{t}': float(self.curve[t - 1]) for t in shown}
        exits = [step for _, step in results if step is not None]
        if exits:
            metrics['exit_step'] = float(np.mean(exits))
        if self.out_file and is_main_process():
            content = dict(top1=self.curve.tolist(), samples=len(results), **metrics)
            with atomic_write(Path(self.out_file)) as file:
                file.write(json.dumps(content, indent=2).encode())
        return metrics
