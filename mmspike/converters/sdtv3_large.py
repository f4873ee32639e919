"""Weights of SDT v3 large (BICLab/Spike-Driven-Transformer-V3, ``Model_Large``) for SDTV3Large.

The published files hold ``{'model': ..., 'optimizer': ..., 'args': Namespace, ...}``. Their
neurons clamp to 0..D, round halves up and divide by D; the one before the second classifier,
``head_kd``, divides by 1. The first classifier takes real numbers. D stands in the names of the
files alone: 4 in ``1x4``, 8 in ``1x8``.
"""

from torch import Tensor, nn

from mmspike.backbones.sdt_v3_large import ARCHS, CONV_STAGES, SDTV3Large
from mmspike.converters.families import Family, converter_of
from mmspike.converters.pyramid import (
    COMMON_PARTS,
    build_pyramid,
    layer_scale_of,
    read_pyramid_of,
    rename_in_pyramid,
)
from mmspike.converters.pyramid_classifier import convert_pyramid_classifier, rename_classifier
from mmspike.converters.weights import Conversion, sizes_of
from mmspike.neurons import SFA

FAMILY = Family(
    'an SDT v3 large classifier',
    (r'^downsample1_1\.encode_conv\.', r'^block3\.\d+\.attn\.q_conv\.0\.conv1\.0\.'),
    without=(r'^mask_token$',),
)
_LAYERS = ((r'conv1\.0', 'pointwise1'), (r'conv1\.1', 'norm1'),
           (r'conv2\.0', 'pointwise2'), (r'conv2\.1', 'norm2'))  # fmt: skip
# (pattern inside a block, replacement)
_PARTS = (
    *COMMON_PARTS,
    (r'^conv(\d)\.0\.0\.', r'conv\1.conv.'),
    (r'^conv(\d)\.0\.1\.', r'conv\1.bn.'),
    *((rf'^rep_conv\.{old}\.', f'rep_conv.conv.{new}.') for old, new in _LAYERS),
    *((rf'^attn\.([qkv])_conv\.0\.{old}\.', rf'attn.\1.conv.{new}.') for old, new in _LAYERS),
    *((rf'^attn\.proj_conv\.0\.{old}\.', f'attn.out.conv.{new}.') for old, new in _LAYERS),
    (r'^layer_scale(\d)$', r'scale\1.weight'),
)


@converter_of(FAMILY)
def convert_sdtv3_large(weights: dict[str, Tensor], *, D: int = 4) -> Conversion:
    """Rename the weights of an SDT v3 large classifier.

    The ``arch`` of the result says which form the blocks of the 83M network have: ``'12-512'``, as
    in the released code, or ``'12-512-wide-rep'``, as in the released weights.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        D: Largest integer of the neurons the weights were trained with.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that no SDTV3Large has.
    """
    return convert_pyramid_classifier(
        weights,
        FAMILY,
        rename_key,
        lambda tensors: large_backbone(tensors, D),
        neuron=large_neuron(D),
        head_neuron=large_neuron(D, norm=1),
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's classifier; None if it has none."""
    return rename_classifier(key) or rename_in_pyramid(key, _PARTS)


def large_neuron(D: int, norm: float | None = None) -> SFA:
    """A neuron as the reference's."""
    return SFA(D=D, norm=norm, rounding='half_up', grad_window='strict')


def large_backbone(tensors: dict[str, Tensor], D: int) -> tuple[nn.Module, str | dict]:
    """The backbone that weights fit, without memory for its tensors, and its architecture.

    Args:
        tensors: Name of ours to tensor.
        D: Largest integer of the neurons.

    Raises:
        ValueError: A stage is missing.
    """
    arch = dict(read_pyramid_of(tensors, len(ARCHS['12-512']['depths'])))
    chain = f'backbone.stages.{CONV_STAGES}.blocks.0.rep_conv.conv.pointwise1.weight'
    arch['rep_expansion'] = None
    if chain in tensors:
        inner, outer, *_ = sizes_of(tensors, chain, 4)
        arch['rep_expansion'] = inner / outer
    return build_pyramid(
        SDTV3Large,
        ARCHS,
        arch,
        tensors,
        neuron_cfg=dict(type='mmspike.SFA', D=D, rounding='half_up', grad_window='strict'),
        layer_scale_init_value=layer_scale_of(tensors),
    )
