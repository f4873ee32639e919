"""Weights of SDT v2 (BICLab/Spike-Driven-Transformer-V2, ``classification``) for SDTV2.

The published files hold ``{'model': ..., 'optimizer': ..., 'args': Namespace, ...}``; those of
distilled models have a second classifier, ``head_kd``.
"""

from torch import Tensor, nn

from mmspike.backbones.sdt_v2 import ARCHS, SDTV2
from mmspike.converters.families import Family, converter_of
from mmspike.converters.pyramid import (
    COMMON_PARTS,
    build_pyramid,
    read_pyramid_of,
    rename_in_pyramid,
)
from mmspike.converters.pyramid_classifier import convert_pyramid_classifier, rename_classifier
from mmspike.converters.weights import Conversion
from mmspike.neurons import LIF

FAMILY = Family(
    'an SDT v2 (Meta-SpikeFormer) classifier',
    (r'^downsample1_1\.encode_conv\.', r'^ConvBlock1_1\.0\.Conv\.pwconv1\.weight$'),
)
NUM_STAGES = 5
# Layers of a RepConv; the first norm has a border.
_LAYERS = (('0', 'pointwise1'), (r'1\.bn', 'norm1'), (r'2\.0', 'depthwise'),
           (r'2\.1', 'pointwise2'), (r'2\.2', 'norm2'))  # fmt: skip
# (pattern inside a block, replacement)
_PARTS = (
    *COMMON_PARTS,
    (r'^Conv\.pwconv(\d)\.', r'sep_conv.pointwise\1.conv.'),
    (r'^Conv\.bn(\d)\.', r'sep_conv.pointwise\1.bn.'),
    (r'^Conv\.dwconv\.', r'sep_conv.depthwise.conv.'),
    (r'^conv(\d)\.', r'conv\1.conv.'),
    (r'^bn(\d)\.', r'conv\1.bn.'),
    *((rf'^attn\.([qkv])_conv\.0\.body\.{old}\.', rf'attn.\1.conv.{new}.') for old, new in _LAYERS),
    *((rf'^attn\.proj_conv\.0\.body\.{old}\.', f'attn.out.conv.{new}.') for old, new in _LAYERS),
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

    def backbone_for(tensors: dict[str, Tensor]) -> tuple[nn.Module, str | dict]:
        return build_pyramid(SDTV2, ARCHS, read_pyramid_of(tensors, NUM_STAGES), tensors)

    return convert_pyramid_classifier(
        weights, FAMILY, rename_key, backbone_for, neuron=LIF(), head_neuron=LIF()
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's classifier; None if it has none."""
    return rename_classifier(key) or rename_in_pyramid(key, _PARTS)
