"""A host's evaluation of an existing model, without a Runner that builds one."""

import io
from collections.abc import Iterable, Sized
from contextlib import redirect_stdout
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import METRICS
from mmengine.runner import Runner
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from mmspike.apis.terminal import progress_bar


def build_test_loader(cfg: Config) -> DataLoader:
    """The loader of the config's test data."""
    with redirect_stdout(io.StringIO()):  # COCO's index reports on itself
        return Runner.build_dataloader(cfg.test_dataloader, seed=0)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: DataLoader,
    metrics: dict | list,
    *,
    extra: Iterable[BaseMetric] = (),
    title: str = 'evaluating',
    console: Console | None = None,
) -> dict[str, Any]:
    """Run ``model`` on all batches and return the metrics.

    Args:
        model: A model of mmpretrain, mmdet or mmseg; left in evaluation mode.
        loader: Its test data.
        metrics: The config's ``test_evaluator``.
        extra: Further metrics.
        title: Title of the progress bar.
        console: Where it is shown.
    """
    model.eval()
    test_step: Any = model.test_step  # of mmengine's models
    kinds = metrics if isinstance(metrics, list) else [metrics]
    evaluator = Evaluator([*(METRICS.build(dict(kind)) for kind in kinds), *extra])
    evaluator.dataset_meta = getattr(loader.dataset, 'metainfo', None)
    with progress_bar(console) as progress:
        for batch in progress.track(loader, description=title):
            evaluator.process(test_step(batch), batch)
    with redirect_stdout(io.StringIO()):
        return evaluator.evaluate(len(cast(Sized, loader.dataset)))
