"""Weights of MST (bic-L/Masked-Spiking-Transformer) for :class:`mmspike.backbones.MST`.

The published files hold ``{'model': ..., 'optimizer': ..., 'config': CfgNode, ...}``; what they
call ``..._if.up`` is the threshold of a QCFS neuron with 16 levels.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.backbones.mst import ARCHS, MST, read_arch
from mmspike.converters.families import Family, converter_of
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
    sizes_of,
)
from mmspike.masking import set_masking
from mmspike.neurons import QCFS

FAMILY = Family(
    'a Masked Spiking Transformer (MST) checkpoint',
    (r'^layers\.\d+\.blocks\.\d+\.attn\.', r'^patch_embed\.(norm\.running_mean|proj_if\.up)$'),
)
# (pattern, replacement) inside a block, inside a layer between stages, and outside of both
_IN_BLOCK = (
    (r'^(norm[12])\.', r'\1.'),
    (r'^shortcut([12])_if\.up$', r'neuron\1.threshold'),
    (r'^(attn\.relative_position_bias_table)$', r'\1'),
    (r'^attn\.qkv\.', r'attn.qkv.'),
    (r'^attn\.([qkv])_if\.up$', r'attn.\1_neuron.threshold'),
    (r'^attn\.attn_if\.up$', r'attn.map_neuron.threshold'),
    (r'^attn\.attn_v_if\.up$', r'attn.out_neuron.threshold'),
    (r'^attn\.proj_if\.up$', r'attn.proj.activate.threshold'),
    (r'^attn\.proj\.', r'attn.proj.conv.'),
    (r'^mlp\.fc([12])_if\.up$', r'mlp.fc\1.activate.threshold'),
    (r'^mlp\.fc([12])\.', r'mlp.fc\1.conv.'),
    (r'^mlp\.norm([12])\.', r'mlp.fc\1.bn.'),
)
_IN_MERGING = (
    (r'^norm\.', r'bn.'),
    (r'^reduction\.', r'conv.'),
    (r'^reduction_if\.up$', r'activate.threshold'),
)
_OUTSIDE = (
    (r'^patch_embed\.proj\.', r'stages.0.downsample.projection.conv.'),
    (r'^patch_embed\.norm\.', r'stages.0.downsample.projection.bn.'),
    (r'^patch_embed\.proj_if\.up$', r'stages.0.downsample.neuron.threshold'),
    (r'^norm\.', r'norm.'),
)
# These follow from the sizes of image and window.
_DERIVED = re.compile(r'\.(attn_mask|relative_position_index)$')


@converter_of(FAMILY)
def convert_mst(
    weights: dict[str, Tensor], *, levels: int = 16, masking_ratio: float = 0.0
) -> Conversion:
    """Rename the weights of an MST classifier: with thresholds (QCFS), or without (ReLU).

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        levels: Levels of the QCFS neurons the weights were trained with.
        masking_ratio: Share of the spikes of q, k and the attention map that were masked in their
            training. The files do not contain it; with another one the network answers at random.
            The checkpoint records it, so that models that load the weights mask as much.

    Raises:
        ValueError: ``masking_ratio`` is not acceptable, or the weights have no thresholds but a
            ratio. The weights belong to another model; the message says what it looks like. Or a
            tensor is missing, or has a shape that no MST has.
    """
    weights = check_family(weights, FAMILY)
    weights = {key: value for key, value in weights.items() if not _DERIVED.search(key)}
    renamed, tensors, unexpected = rename(weights, rename_key)
    tensors = {key: _reshaped(key, value) for key, value in tensors.items()}
    arch = read_arch_of(tensors)
    neuron: dict[str, Any] = dict(type='ReLU')
    if is_quantised(tensors):
        neuron = dict(type='mmspike.QCFS', levels=levels)
    mlp_norm = has_mlp_norm(tensors)
    with torch.device('meta'):
        backbone = MST(
            arch,
            in_channels=tensors['backbone.stages.0.downsample.projection.conv.weight'].shape[1],
            mlp_norm=mlp_norm,
            out_indices=(-1,),
            neuron_cfg=neuron,
        )
    model = nn.ModuleDict(dict(backbone=backbone))
    if masking_ratio:
        if not is_quantised(tensors):
            raise ValueError(f'masking_ratio={masking_ratio}, but weights for ReLU have no spikes')
        set_masking(model, dict(self_attention=masking_ratio))
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=[*model.state_dict(), 'head.fc.weight', 'head.fc.bias'],
        unexpected=unexpected,
        arch=next((name for name in ARCHS if read_arch(name) == arch), arch),
        meta=dict(
            neuron=QCFS(levels=levels).describe() if is_quantised(tensors) else neuron,
            mlp_norm=mlp_norm,
        ),
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's; None if it has none."""
    parts: tuple[tuple[str, str], ...]
    place, parts, rest = 'backbone', _OUTSIDE, key
    block = re.match(r'layers\.(\d+)\.blocks\.(\d+)\.', key)
    merging = re.match(r'layers\.(\d+)\.downsample\.', key)
    if block:
        place, parts = f'backbone.stages.{block[1]}.blocks.{block[2]}', _IN_BLOCK
        rest = key[block.end() :]
    elif merging:
        # Tokens are merged at the end of a stage there, at the beginning of the next one here.
        place, parts = f'backbone.stages.{int(merging[1]) + 1}.downsample', _IN_MERGING
        rest = key[merging.end() :]
    elif key.startswith('head.'):
        return key.replace('head.', 'head.fc.')
    for pattern, replacement in parts:
        if re.search(pattern, rest):
            return f'{place}.{re.sub(pattern, replacement, rest)}'
    return None


def _reshaped(key: str, value: Tensor) -> Tensor:
    """A linear layer is a 1x1 convolution here."""
    pointwise = key.startswith('backbone.') and value.dim() == 2 and key.endswith('.weight')
    return value[..., None, None] if pointwise else value


def is_quantised(tensors: dict[str, Tensor]) -> bool:
    """Whether there are thresholds, as QCFS neurons have and ReLU has not."""
    return any(key.endswith('.threshold') for key in tensors)


def has_mlp_norm(tensors: dict[str, Tensor]) -> bool:
    """Whether there are norms in the MLPs: not in weights for CIFAR."""
    return any('.mlp.fc1.bn.' in key for key in tensors)


def read_arch_of(tensors: dict[str, Tensor]) -> dict:
    """An arch dict from the shapes.

    Raises:
        ValueError: The patch embedding, or the table of biases of some block, is missing or of
            other dimensions.
    """
    stem = 'backbone.stages.0.downsample.projection.conv.weight'
    table = 'backbone.stages.{}.blocks.0.attn.relative_position_bias_table'
    places = [re.match(r'backbone\.stages\.(\d+)\.blocks\.(\d+)\.', key) for key in tensors]
    blocks = {(int(place[1]), int(place[2])) for place in places if place}
    width, *_ = sizes_of(tensors, stem, 4)
    stages = range(1 + max((stage for stage, _ in blocks), default=0))
    tables = [sizes_of(tensors, table.format(i), 2) for i in stages]
    return dict(
        embed_dims=width,
        depths=tuple(sum(stage == i for stage, _ in blocks) for i in stages),
        num_heads=tuple(heads for _, heads in tables),
        window_size=tuple((math.isqrt(offsets) + 1) // 2 for offsets, _ in tables),
    )
