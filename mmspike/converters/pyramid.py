"""Names of the reference's pyramids: SDT v2, SDT v3 base and SDT v3 large have the same stages."""

import re
from collections.abc import Sequence

from torch import Tensor

from mmspike.converters.weights import sizes_of

# Module of the reference -> module of ours. What is inside has other names from family to family.
_PLACES = {
    'downsample1_1': 'stages.0.downsample',
    'downsample1_2': 'stages.1.downsample',
    'downsample2': 'stages.2.downsample',
    'downsample3': 'stages.3.downsample',
    'downsample4': 'stages.4.downsample',
    'ConvBlock1_1.0': 'stages.0.blocks.0',
    'ConvBlock1_2.0': 'stages.1.blocks.0',
    'ConvBlock2_1.0': 'stages.2.blocks.0',
    'ConvBlock2_2.0': 'stages.2.blocks.1',
}
# What all families have: (pattern inside a place, replacement).
COMMON_PARTS = (
    (r'^encode_(conv|bn)\.', r'\1.'),
    (r'^mlp\.fc(\d)_(conv|bn)\.', r'mlp.fc\1.\2.'),
)

# A classifier, and one that learned from a teacher.
_HEADS = {'head.': 'head.fc.', 'head_kd.': 'head.fc_distill.'}


def rename_classifier(key: str) -> str | None:
    """Name of ours for a name of a reference's one or two classifiers; None if it is of neither."""
    for old, new in _HEADS.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return None


def classifier_keys(tensors: dict[str, Tensor]) -> list[str]:
    """Keys of the classifier, and of the second one where there is any of it."""
    second = any(key.startswith(_HEADS['head_kd.']) for key in tensors)
    layers = [_HEADS['head.'], *([_HEADS['head_kd.']] if second else [])]
    return [layer + part for layer in layers for part in ('weight', 'bias')]


def rename_in_pyramid(key: str, parts: Sequence[tuple[str, str]]) -> str | None:
    """Name of ours for a name of a reference's backbone; None if it has none.

    Args:
        key: Name in the reference, without a prefix.
        parts: Patterns for what is inside a block or down-sampling layer, and replacements.
    """
    block = re.match(r'block([34])\.(\d+)\.', key)
    if block:
        place, rest = f'stages.{block[1]}.blocks.{block[2]}', key[block.end() :]
    else:
        old = next((old for old in _PLACES if key.startswith(old + '.')), None)
        if old is None:
            return None
        place, rest = _PLACES[old], key[len(old) + 1 :]
    for pattern, replacement in parts:
        if re.search(pattern, rest):
            return f'backbone.{place}.{re.sub(pattern, replacement, rest)}'
    return None


def with_2d_pointwise(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the reference's 1-D convolutions over tokens, all of kernel 1, their second axis."""
    return {
        key: value.unsqueeze(-1) if value.dim() == 3 and value.shape[2] == 1 else value
        for key, value in tensors.items()
    }


def read_pyramid_of(tensors: dict[str, Tensor], stages: int) -> dict:
    """Widths and depths from the shapes. Heads and stem stride leave no trace: 8 and 2 always.

    Args:
        tensors: Name of ours to tensor.
        stages: Number of stages.

    Raises:
        ValueError: A stage is missing, or does not begin with a convolution.
    """
    places = [re.match(r'backbone\.stages\.(\d)\.blocks\.(\d+)\.', key) for key in tensors]
    blocks = {(int(place[1]), int(place[2])) for place in places if place}
    stems = [f'backbone.stages.{i}.downsample.conv.weight' for i in range(stages)]
    return dict(
        embed_dims=tuple(sizes_of(tensors, stem, 4)[0] for stem in stems),
        depths=tuple(sum(stage == i for stage, _ in blocks) for i in range(stages)),
        num_heads=8,
        stem_stride=2,
    )
