"""Run a trained network as an int8 file, beside PyTorch."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from executions import BATCHES
from mmengine.config import Config
from mmengine.model import BaseModel

from mmspike.deploy import MissingExtraError, export_onnx, load


@dataclass(frozen=True)
class FileRun:
    """The same images in PyTorch and in an int8 file.

    Attributes:
        torch_rate: Images per second in PyTorch, on integers.
        file_rate: Images per second of the file, with the same work of the host around it.
        same: Number of images with equal answers, and number of images.
        path: The file.
    """

    torch_rate: float
    file_rate: float
    same: tuple[int, int]
    path: Path


def run_as_file(
    cfg: Config,
    model: BaseModel,
    batches: Iterable[Any],
    same: Callable[[Any, Any], bool],
    path: Path,
) -> FileRun | None:
    """Export a model to int8, and run the first batches with both.

    Args:
        cfg: Its config.
        model: In evaluation mode.
        batches: Of its data loader.
        same: Whether two data samples hold the same answer.
        path: The file to be written.

    Returns:
        None without the libraries of ``mmspike[deploy]``.
    """
    kept = list(islice(batches, BATCHES))
    size = model.data_preprocessor(kept[0], False)['inputs'].shape[-2:]
    try:
        export_onnx(cfg, model, path, size=size, precision='int8')
        file = load(path, threads=torch.get_num_threads()).model
    except MissingExtraError:
        return None
    answers, rates = [], []
    for network in (model, file):
        step: Any = network.test_step
        with torch.no_grad():
            step(kept[0])  # the first call prepares what later ones use
            began = time.perf_counter()
            answers.append([sample for batch in kept for sample in step(batch)])
        rates.append(len(answers[-1]) / (time.perf_counter() - began))
    equal = sum(same(one, other) for one, other in zip(*answers, strict=True))
    return FileRun(*rates, same=(equal, len(answers[0])), path=path)
