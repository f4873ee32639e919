"""Weights of the references' detectors and segmentors for models of mmdet and mmseg.

Those of SDT v2 and of SDT v3 come from BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Detection``
(Mask R-CNN) and ``SDT_V3/Segmentation`` (semantic FPN).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from mmspike.backbones import SDTV2, MetaSpikformer
from mmspike.converters import sdtv2, sdtv3
from mmspike.converters.families import Family, converter_of, identify
from mmspike.converters.pyramid import read_pyramid_of, with_2d_pointwise
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
)
from mmspike.moved import moved_names


@dataclass(frozen=True)
class DenseFamily:
    """Files of detectors and segmentors with one backbone.

    Attributes:
        family: How they are recognised.
        backbone: Class of the backbone.
        rename_key: From names of the reference's backbone, without prefix, to ours.
    """

    family: Family
    backbone: type[nn.Module]
    rename_key: Callable[[str], str | None]


FAMILIES = (
    DenseFamily(
        Family(
            'an SDT v3 detection or segmentation checkpoint',
            (r'^backbone\.downsample1_1\.', r'\.pwconv1\.0\.'),
        ),
        MetaSpikformer,
        sdtv3.rename_key,
    ),
    DenseFamily(
        Family(
            'an SDT v2 detection or segmentation checkpoint',
            (r'^backbone\.downsample1_1\.', r'\.pwconv1\.weight$'),
        ),
        SDTV2,
        sdtv2.rename_key,
    ),
)
NUM_STAGES = 5
# (pattern, replacement); numbers in the reference's names count neurons and nested sequences
_RULES: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = (
    # detection
    (r'^neck\.(lateral|fpn)_convs\.(\d+)\.1\.0\.conv\.', r'neck.\1_convs.\2.conv.'),
    (r'^rpn_head\.rpn_conv\.1\.0\.', r'rpn_head.rpn_conv.0.conv.'),
    (r'^rpn_head\.rpn_(cls|reg)\.1\.0\.', r'rpn_head.rpn_\1.'),
    (r'^(roi_head\.bbox_head\.fc_(?:cls|reg)\.)', r'\1'),
    (r'^(roi_head\.bbox_head\.shared_fcs\.\d+\.1\.)0\.', r'\1'),
    (r'^(roi_head\.mask_head\.convs\.\d+\.)1\.0\.conv\.', r'\1conv.'),
    (r'^(roi_head\.mask_head\.(?:upsample|conv_logits)\.)1\.0\.', r'\1'),
    # segmentation
    (r'^(neck\.(?:lateral|fpn)_convs\.\d+\.)0\.', r'\1conv.'),
    (r'^(neck\.(?:lateral|fpn)_convs\.\d+\.)1\.(?!0\.)', r'\1bn.'),
    # Of LIF neurons: every convolution is one with its upsampling there, and two steps here.
    (
        r'^(decode_head\.scale_heads\.\d+\.)(\d+)\.1\.0\.(conv|bn)\.',
        lambda place: f'{place[1]}{2 * int(place[2])}.{place[3]}.',
    ),
    (r'^(decode_head\.scale_heads\.\d+\.\d+\.)1\.', r'\1conv.'),
    (r'^(decode_head\.scale_heads\.\d+\.\d+\.)2\.', r'\1bn.'),
    (r'^(decode_head\.conv_seg\.)', r'\1'),
)


@converter_of(*(one.family for one in FAMILIES))
def convert_dense(weights: dict[str, Tensor], model: nn.Module) -> Conversion:
    """Rename the weights of a detector or segmentor.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        model: The model they are for, built from a config; it is not changed, and its tensors may
            be on the meta device.

    Raises:
        ValueError: The weights belong to another kind of model, or do not fit this one's shapes.
    """
    dense = _family_of(weights)
    weights = check_family(weights, dense.family)
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, dense.backbone):
        raise ValueError(
            f'this is {dense.family.name}, for a model with the backbone '
            f'{dense.backbone.__name__}; the model has {type(backbone).__name__}'
        )

    def rename_key(key: str) -> str | None:
        if key.startswith('backbone.'):
            return dense.rename_key(key.removeprefix('backbone.'))
        return rename_outside_backbone(key)

    renamed, tensors, unexpected = rename(weights, rename_key)
    tensors = with_2d_pointwise(tensors)
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=list(model.state_dict()),
        unexpected=unexpected,
        arch=read_pyramid_of(tensors, NUM_STAGES),
    )


def _family_of(weights: dict[str, Tensor]) -> DenseFamily:
    looks_like = identify([key.removeprefix('module.') for key in weights])
    for dense in FAMILIES:
        if dense.family.name == looks_like:
            return dense
    raise ValueError(
        f'expected {" or ".join(dense.family.name for dense in FAMILIES)}, but this looks like '
        f'{looks_like}'
    )


def rename_outside_backbone(key: str) -> str | None:
    """Name of ours for a name of a reference's neck or head; None if it has none."""
    for pattern, replacement in _RULES:
        if re.match(pattern, key):
            return re.sub(pattern, replacement, key)
    return None


__getattr__ = moved_names(
    __name__,
    {
        'convert_sdtv3_dense': 'converters:convert_dense',
        'convert_sdtv3_dense_file': 'converters:convert_file',
    },
)
