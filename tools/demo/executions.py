"""Compare the answers of a model on binary spikes with those on integers."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn

from mmspike.execution import get_execution, set_execution

BATCHES = 4


def same_answers(
    model: nn.Module,
    batches: Iterable[Any],
    same: Callable[[Any, Any], bool],
    on_batch: Callable[[], None],
) -> tuple[int, int]:
    """Run the first batches in both executions.

    Args:
        model: A model of mmpretrain, mmdet or mmseg, in evaluation mode.
        batches: Batches of its data loader.
        same: Whether two data samples hold the same answer.
        on_batch: Called after each batch in each execution.

    Returns:
        Number of images with equal answers, and number of images.
    """
    before = get_execution(model)
    pairs: list[tuple[Any, Any]] = []
    try:
        for batch in islice(batches, BATCHES):
            answers = []
            for execution in ('integer', 'spike'):
                set_execution(model, execution)
                with torch.no_grad():
                    answers.append(model.test_step(batch))
                on_batch()
            pairs += zip(*answers, strict=True)
    finally:
        set_execution(model, before)
    return sum(same(one, other) for one, other in pairs), len(pairs)
