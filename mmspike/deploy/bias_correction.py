"""Biases that make up for the mean error of rounded weights.

Where weights ``W`` are rounded to ``R``, the output of a layer is off by ``(W - R) x``. Its mean
over data is known from the mean of the input, and a bias takes it away (Nagel et al., Data-Free
Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LAYERS = (nn.Conv2d, nn.Linear)


@torch.no_grad()
def mean_inputs(model: nn.Module, batches: Iterable[Any]) -> dict[str, np.ndarray]:
    """The mean input of every convolution and linear layer.

    Args:
        model: A host's model whose norms are folded.
        batches: Of its data loader.

    Returns:
        Name of the layer to means ``(C,)``, of the channels that it takes.

    Raises:
        ValueError: There is no batch.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        if not isinstance(module, LAYERS):
            continue

        def note(layer: nn.Module, args: tuple, name: str = name) -> None:
            x = args[0].transpose(1, -1) if isinstance(layer, nn.Conv2d) else args[0]
            rows = x.reshape(-1, x.shape[-1]).double()
            sums[name] = sums.get(name, torch.zeros(())) + rows.sum(0)
            counts[name] = counts.get(name, 0) + len(rows)

        handles.append(module.register_forward_pre_hook(note))
    try:
        test_step: Any = model.test_step
        for batch in batches:
            test_step(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not counts:
        raise ValueError('bias correction needs images: there is no batch')
    return {name: (sums[name] / max(counts[name], 1)).numpy() for name in sums}


def mean_errors(weight: np.ndarray, rounded: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The mean of what every output channel loses.

    Args:
        weight: ``(O, C / groups, ...)`` of a convolution or ``(O, C)`` of a linear layer.
        rounded: The same, rounded.
        means: Of the input, ``(C,)``.

    Returns:
        ``(O,)``.
    """
    lost = (weight - rounded).reshape(*weight.shape[:2], -1).sum(-1)
    groups = len(means) // lost.shape[1]
    lost = lost.reshape(groups, -1, lost.shape[1])
    return np.einsum('goc,gc->go', lost, means.reshape(groups, -1)).ravel().astype(np.float32)
