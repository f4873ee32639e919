"""Weights of SDT v2 (BICLab/Spike-Driven-Transformer-V2, ``classification``) for SDTV2.

The published files hold ``{'model': ..., 'optimizer': ..., 'args': Namespace, ...}``; those of
distilled models have a second classifier, ``head_kd``.
"""

import torch
from torch import Tensor, nn

from mmspike.backbones.sdt_v2 import ARCHS, SDTV2
from mmspike.converters.families import Family, converter_of
from mmspike.converters.pyramid import (
    COMMON_PARTS,
    classifier_keys,
    read_pyramid_of,
    rename_classifier,
    rename_in_pyramid,
    with_2d_pointwise,
)
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
)
from mmspike.neurons import LIF

FAMILY = Family(
    'an SDT v2 (Meta-SpikeFormer) classifier',
    (r'^downsample1_1\.encode_conv\.', r'^ConvBlock1_1\.0\.Conv\.pwconv1\.weight$'),
)
NUM_STAGES = 5
# (pattern inside a block, replacement)
_PARTS = (
    *COMMON_PARTS,
    (r'^Conv\.pwconv(\d)\.', r'sep_conv.pointwise\1.conv.'),
    (r'^Conv\.bn(\d)\.', r'sep_conv.pointwise\1.bn.'),
    (r'^Conv\.dwconv\.', r'sep_conv.depthwise.conv.'),
    (r'^conv(\d)\.', r'conv\1.conv.'),
    (r'^bn(\d)\.', r'conv\1.bn.'),
    # RepConv: pointwise, norm with a border, (depthwise, pointwise, norm)
    (r'^attn\.([qkv])_conv\.0\.body\.', r'attn.\1.conv.body.'),
    (r'^attn\.proj_conv\.0\.body\.', r'attn.out.conv.body.'),
    (r'^attn\.([qkv])_conv\.1\.', r'attn.\1.bn.'),
    (r'^attn\.proj_conv\.1\.', r'attn.out.bn.'),
)
_BODY = (
    ('.conv.body.0.', '.conv.pointwise1.'),
    ('.conv.body.1.bn.', '.conv.norm1.'),
    ('.conv.body.2.0.', '.conv.depthwise.'),
    ('.conv.body.2.1.', '.conv.pointwise2.'),
    ('.conv.body.2.2.', '.conv.norm2.'),
)


@converter_of(FAMILY)
def convert_sdtv2(weights: dict[str, Tensor]) -> Conversion:
    """Rename the weights of an SDT v2 classifier, distilled or not.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that no SDTV2 has.
    """
    weights = check_family(weights, FAMILY)
    renamed, tensors, unexpected = rename(weights, rename_key)
    tensors = with_2d_pointwise(tensors)
    arch = read_pyramid_of(tensors, NUM_STAGES)
    with torch.device('meta'):
        backbone = SDTV2(
            arch, in_channels=tensors['backbone.stages.0.downsample.conv.weight'].shape[1]
        )
        model = nn.ModuleDict(dict(backbone=backbone, head=nn.ModuleDict(dict(neuron=LIF()))))
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=[*model.state_dict(), *classifier_keys(tensors)],
        unexpected=unexpected,
        arch=next((name for name, known in ARCHS.items() if known == arch), arch),
        meta=dict(neuron=LIF().describe()),
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's classifier; None if it has none."""
    name = rename_classifier(key) or rename_in_pyramid(key, _PARTS)
    for old, new in _BODY:
        name = name and name.replace(old, new)
    return None if name and '.body.' in name else name
