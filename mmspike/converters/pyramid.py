"""Names of the reference's pyramids: SDT v2, SDT v3 base and SDT v3 large have the same stages."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
# The convolution that sees the image, by its name of ours.
STEM = 'backbone.stages.0.downsample.conv.weight'
# What all families have: (pattern inside a place, replacement).
COMMON_PARTS = (
    (r'^encode_(conv|bn)\.', r'\1.'),
    (r'^attn\.([qkv])_conv\.1\.', r'attn.\1.bn.'),
    (r'^attn\.proj_conv\.1\.', r'attn.out.bn.'),
    (r'^mlp\.fc(\d)_(conv|bn)\.', r'mlp.fc\1.\2.'),
)


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


def build_pyramid(
    kind: Callable[..., nn.Module],
    archs: dict[str, dict],
    arch: dict,
    tensors: dict[str, Tensor],
    **options: Any,
) -> tuple[nn.Module, str | dict]:
    """The backbone that weights fit, without memory for its tensors, and its architecture.

    Args:
        kind: Class of the backbone.
        archs: Its architectures by name.
        arch: The one that was read from the weights. The result has its name, if it has one.
        tensors: Name of ours to tensor.
        **options: Other options of the class.
    """
    channels = tensors[STEM].shape[1]
    with torch.device('meta'):
        backbone = kind(arch, in_channels=channels, **options)
    return backbone, next((name for name, known in archs.items() if known == arch), arch)


def layer_scale_of(tensors: dict[str, Tensor]) -> float | None:
    """Option ``layer_scale_init_value``: None without factors on the branches of the blocks."""
    return 1e-6 if any('.scale1.' in key for key in tensors) else None
