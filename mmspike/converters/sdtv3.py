"""Weights of SDT v3 base (BICLab/Spike-Driven-Transformer-V3, ``Model_Base``) for MetaSpikformer.

The published files hold ``{'model': ..., 'optimizer': ..., 'args': Namespace, ...}``. Their
neurons clamp to 0..4, round half to even and divide by 4; the one before the classifier divides
by 1.
"""

from torch import Tensor, nn

from mmspike.backbones.meta_spikformer import ARCHS, NUM_STAGES, MetaSpikformer
from mmspike.converters.families import Family, converter_of
from mmspike.converters.pyramid import (
    COMMON_PARTS,
    build_pyramid,
    layer_scale_of,
    read_pyramid_of,
    rename_in_pyramid,
)
from mmspike.converters.pyramid_classifier import convert_pyramid_classifier
from mmspike.converters.weights import Conversion
from mmspike.neurons import SFA

# Keys of all files of this network, and of those for event cameras alone.
KEYS = (r'^downsample1_1\.encode_conv\.', r'^ConvBlock1_1\.0\.Conv\.pwconv1\.0\.')
LAYER_SCALE = r'^block3\.\d+\.layer_scale1$'
FAMILY = Family('an SDT v3 base classifier', KEYS, without=(LAYER_SCALE,))
# (pattern inside a block, replacement)
_PARTS = (
    *COMMON_PARTS,
    (r'^(?:Conv|conv)\.pwconv(\d)\.0\.', r'sep_conv.pointwise\1.conv.'),
    (r'^(?:Conv|conv)\.pwconv(\d)\.1\.', r'sep_conv.pointwise\1.bn.'),
    (r'^(?:Conv|conv)\.dwconv\.0\.', r'sep_conv.depthwise.conv.'),
    (r'^(?:Conv|conv)\.dwconv\.1\.', r'sep_conv.depthwise.bn.'),
    (r'^conv(\d)\.', r'conv\1.conv.'),
    (r'^bn(\d)\.', r'conv\1.bn.'),
    (r'^attn\.([qkv])_conv\.0\.', r'attn.\1.conv.'),
    (r'^attn\.proj_conv\.0\.', r'attn.out.conv.'),
    (r'^layer_scale(\d)$', r'scale\1.weight'),
)


@converter_of(FAMILY)
def convert_sdtv3(weights: dict[str, Tensor], *, D: int = 4) -> Conversion:
    """Rename the weights of an SDT v3 base classifier.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        D: Largest integer of the neurons the weights were trained with.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that no MetaSpikformer has.
    """
    return convert_classifier(weights, FAMILY, D=D)


def convert_classifier(
    weights: dict[str, Tensor], family: Family, *, D: int, norm: float | None = None
) -> Conversion:
    """Rename the weights of a MetaSpikformer classifier of a family of files.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        family: The family that they have to be of.
        D: Largest integer of the neurons the weights were trained with.
        norm: Divisor of the neurons; None divides by D. The one before the classifier divides by 1.

    Raises:
        ValueError: See :func:`convert_sdtv3`.
    """

    def backbone_for(tensors: dict[str, Tensor]) -> tuple[nn.Module, str | dict]:
        return build_pyramid(
            MetaSpikformer,
            ARCHS,
            read_pyramid_of(tensors, NUM_STAGES),
            tensors,
            neuron_cfg=dict(type='mmspike.SFA', D=D, norm=norm),
            layer_scale_init_value=layer_scale_of(tensors),
        )

    return convert_pyramid_classifier(
        weights,
        family,
        rename_key,
        backbone_for,
        neuron=SFA(D=D, norm=norm),
        head_neuron=SFA(D=D, norm=1),
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's classifier; None if it has none."""
    if key in ('head.weight', 'head.bias'):
        return key.replace('head.', 'head.fc.')
    return rename_in_pyramid(key, _PARTS)
