"""What layers with weights take on data, for the rounding of their weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

LAYERS = (nn.Conv2d, nn.Linear)
# Of a layer, per batch; positions of a map say much the same.
MOST_ROWS = 4096
# Inputs of one output, over which no second moments are taken: they would not fit into memory.
MOST_INPUTS = 6000


@dataclass
class Statistics:
    """Of the inputs of a layer, which are ``n`` numbers for each output of a group.

    Attributes:
        sums: ``(groups, n)``.
        moments: Sums of products ``(groups, n, n)``; None for too large a layer.
        rows: Number of inputs in the sums.
    """

    sums: Tensor
    moments: Tensor | None
    rows: int = 0

    @property
    def means(self) -> Tensor:
        return self.sums / max(self.rows, 1)


@torch.no_grad()
def input_statistics(
    model: nn.Module, batches: Iterable[Any], *, seed: int = 0
) -> dict[str, Statistics]:
    """Watch the convolutions and linear layers of a model while it runs.

    Args:
        model: A host's model whose norms are folded.
        batches: Of its data loader.
        seed: Of the choice of positions.

    Returns:
        Name of a layer to statistics of its inputs.

    Raises:
        ValueError: There is no batch.
    """
    found: dict[str, Statistics] = {}
    generator = torch.Generator().manual_seed(seed)
    handles = []
    for name, module in model.named_modules():
        if not isinstance(module, LAYERS):
            continue

        def note(layer: Any, args: tuple, name: str = name) -> None:
            rows = _rows(layer, args[0], generator)
            groups, n, _ = rows.shape
            if name not in found:
                moments = rows.new_zeros(groups, n, n) if n <= MOST_INPUTS else None
                found[name] = Statistics(rows.new_zeros(groups, n), moments)
            one = found[name]
            one.sums += rows.sum(-1)
            one.rows += rows.shape[-1]
            if one.moments is not None:
                one.moments.baddbmm_(rows, rows.transpose(1, 2))

        handles.append(module.register_forward_pre_hook(note))
    try:
        test_step: Any = model.test_step
        for batch in batches:
            test_step(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError('calibration needs images: there is no batch')
    return found


def _rows(layer: Any, x: Tensor, generator: torch.Generator) -> Tensor:
    """Some inputs of a layer's outputs: ``(groups, n, rows)``."""
    if isinstance(layer, nn.Linear):
        rows = x.reshape(-1, x.shape[-1]).T[None]
    else:
        patches = unfold(
            x, layer.kernel_size, layer.dilation, _padding(layer), layer.stride
        )  # (B, C*h*w, L)
        rows = patches.transpose(0, 1).flatten(1).unflatten(0, (layer.groups, -1))
    count = rows.shape[-1]
    if count > MOST_ROWS:
        rows = rows[..., torch.randperm(count, generator=generator)[:MOST_ROWS]]
    return rows.float()


def _padding(layer: nn.Conv2d) -> Any:
    if layer.padding == 'same':
        return [d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return 0 if layer.padding == 'valid' else layer.padding


def range_of_images(model: nn.Module, batches: Iterable[Any]) -> tuple[float, float]:
    """Least and largest number that the data preprocessor hands on.

    Args:
        model: A host's model.
        batches: Of its data loader.

    Raises:
        ValueError: There is no batch.
    """
    preprocessor: Any = model.data_preprocessor
    ends = [preprocessor(batch, False)['inputs'].aminmax() for batch in batches]
    if not ends:
        raise ValueError('calibration needs images: there is no batch')
    return min(float(end.min) for end in ends), max(float(end.max) for end in ends)
