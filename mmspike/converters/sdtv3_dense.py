"""Weights of SDT v3's detectors and segmentors for models of mmdet and mmseg.

They come from BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Detection`` (Mask R-CNN) and
``SDT_V3/Segmentation`` (semantic FPN).
"""

import os
import re

import torch
from torch import Tensor, nn

from mmspike.converters.families import Family, declare
from mmspike.converters.sdtv3 import read_arch_of, rename_key, with_2d_mlp
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
    weights_in,
)
from mmspike.files import atomic_write, read_training_checkpoint

FAMILY = declare(
    Family(
        'an SDT v3 detection or segmentation checkpoint',
        (r'^backbone\.downsample1_1\.', r'\.pwconv1\.0\.'),
    )
)
# (pattern, replacement); numbers in the reference's names count neurons and nested sequences
_RULES = (
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
    (r'^(decode_head\.scale_heads\.\d+\.\d+\.)1\.', r'\1conv.'),
    (r'^(decode_head\.scale_heads\.\d+\.\d+\.)2\.', r'\1bn.'),
    (r'^(decode_head\.conv_seg\.)', r'\1'),
)


def convert_sdtv3_dense(weights: dict[str, Tensor], model: nn.Module) -> Conversion:
    """Rename the weights of an SDT v3 detector or segmentor.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        model: The model they are for, built from a config; it is not changed, and its tensors may
            be on the meta device.

    Raises:
        ValueError: The weights belong to another kind of model, or do not fit this one's shapes.
    """
    weights = check_family(weights, FAMILY)
    renamed, tensors, unexpected = rename(weights, rename_dense_key)
    tensors = with_2d_mlp(tensors)
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=list(model.state_dict()),
        unexpected=unexpected,
        arch=read_arch_of(tensors),
    )


def convert_sdtv3_dense_file(
    source: str | os.PathLike, target: str | os.PathLike, model: nn.Module
) -> Conversion:
    """Convert a published file into a checkpoint of our own.

    Args:
        source: File of the reference, a checkpoint of mmengine; loaded with ``weights_only=True``.
        target: File to write, whole or not at all.
        model: The model it is for, built from a config.

    Raises:
        FileNotFoundError, IsADirectoryError: ``source`` is not a file.
        ValueError: It is damaged, unsafe or of another model, or lacks weights.
    """
    content = read_training_checkpoint(source)
    conversion = convert_sdtv3_dense(weights_in(content, source), model)
    if conversion.missing:
        raise ValueError(
            f'{source} lacks {len(conversion.missing)} tensors of the model, among them '
            f'{conversion.missing[0]}'
        )
    with atomic_write(target) as file:
        meta = dict(mmspike=dict(arch=conversion.arch))
        torch.save(dict(meta=meta, state_dict=conversion.state_dict), file)
    return conversion


def rename_dense_key(key: str) -> str | None:
    """Name of ours for a name of the reference's; None if it has none."""
    if key.startswith('backbone.'):
        return rename_key(key.removeprefix('backbone.'))
    for pattern, replacement in _RULES:
        if re.match(pattern, key):
            return re.sub(pattern, replacement, key)
    return None
