"""Weights of SDT v3 base (BICLab/Spike-Driven-Transformer-V3, ``Model_Base``) for MetaSpikformer.

The published files hold ``{'model': ..., 'optimizer': ..., 'args': Namespace, ...}``. Their
neurons clamp to 0..4, round half to even and divide by 4; the one before the classifier divides
by 1.
"""

import torch
from torch import Tensor, nn

from mmspike.backbones.meta_spikformer import (
    ARCHS,
    NUM_STAGES,
    MetaSpikformer,
)
from mmspike.converters.families import Family, converter_of
from mmspike.converters.pyramid import (
    COMMON_PARTS,
    read_pyramid_of,
    rename_in_pyramid,
    with_2d_pointwise,
)
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
)
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
    (r'^attn\.([qkv])_conv\.1\.', r'attn.\1.bn.'),
    (r'^attn\.proj_conv\.0\.', r'attn.out.conv.'),
    (r'^attn\.proj_conv\.1\.', r'attn.out.bn.'),
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
    weights = check_family(weights, family)
    renamed, tensors, unexpected = rename(weights, rename_key)
    tensors = with_2d_pointwise(tensors)
    arch = read_pyramid_of(tensors, NUM_STAGES)
    has_scale = any('.scale1.' in key for key in tensors)
    neuron, head_neuron = SFA(D=D, norm=norm), SFA(D=D, norm=1)
    with torch.device('meta'):
        backbone = MetaSpikformer(
            arch,
            in_channels=tensors['backbone.stages.0.downsample.conv.weight'].shape[1],
            neuron_cfg=dict(type='mmspike.SFA', D=D, norm=norm),
            layer_scale_init_value=1e-6 if has_scale else None,
        )
        head = nn.ModuleDict(dict(neuron=head_neuron))
        model = nn.ModuleDict(dict(backbone=backbone, head=head))
    known = [*model.state_dict(), 'head.fc.weight', 'head.fc.bias']
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=known,
        unexpected=unexpected,
        arch=next((name for name, known in ARCHS.items() if known == arch), arch),
        meta=dict(neuron=neuron.describe(), head_neuron=head_neuron.describe()),
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's classifier; None if it has none."""
    if key in ('head.weight', 'head.bias'):
        return key.replace('head.', 'head.fc.')
    return rename_in_pyramid(key, _PARTS)
