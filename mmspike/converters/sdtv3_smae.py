"""Weights of SDT v3's masked pre-training (``Model_Large/MAE_SDT.py``) for SMAE.

The result is a whole SMAE. Its encoder goes into an SDTV3Large by
``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.
"""

import math
import re

import torch
from torch import Tensor, nn

from mmspike.converters.families import Family, converter_of
from mmspike.converters.pyramid import STEM, with_2d_pointwise
from mmspike.converters.sdtv3_large import large_backbone, large_neuron
from mmspike.converters.sdtv3_large import rename_key as rename_encoder
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
    sizes_of,
)

FAMILY = Family('an SDT v3 masked-autoencoder checkpoint', (r'^mask_token$', r'^decoder_'))
# The reference has a table of positions for its encoder and never reads it.
UNUSED = ('pos_embed',)
# (pattern of a name outside the encoder, replacement)
_PARTS = (
    (r'^norm\.', 'encoder_norm.'),
    (r'^decoder_norm\.', 'ln1.'),
    (r'^(decoder_blocks\.\d+\.)norm([12])\.', r'\1ln\2.'),
    (r'^(decoder_blocks\.\d+\.)mlp\.fc1\.', r'\1ffn.layers.0.0.'),
    (r'^(decoder_blocks\.\d+\.)mlp\.fc2\.', r'\1ffn.layers.1.'),
    (r'^(decoder_blocks\.\d+\.attn\.(?:qkv|proj)\.)', r'\1'),
    (r'^(decoder_(?:embed|pred)\.)', r'\1'),
    (r'^(decoder_pos_embed|mask_token)$', r'\1'),
)


@converter_of(FAMILY)
def convert_sdtv3_smae(weights: dict[str, Tensor], *, D: int = 4) -> Conversion:
    """Rename the weights of a masked autoencoder of SDT v3.

    The reference's mask token was never trained, because its decoder gets the tokens of all
    patches: predictions of these weights need ``legacy_token_order=True`` in the encoder.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        D: Largest integer of the neurons the weights were trained with.

    Raises:
        ImportError: mmpretrain, which has the decoder, is not installed.
        ValueError: The weights belong to another model; the message says what it looks like. Or
            they are incomplete, or a tensor has a shape that no SMAE has.
    """
    weights = check_family(weights, FAMILY)
    renamed, tensors, unexpected = rename(weights, rename_key)
    tensors = with_2d_pointwise(tensors)
    backbone, arch = large_backbone(tensors, D)
    model = nn.ModuleDict(dict(backbone=backbone, neck=_decoder(tensors)))
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=list(model.state_dict()),
        unexpected=unexpected,
        arch=arch,
        unused=[key for key in UNUSED if key in weights],
        meta=dict(neuron=large_neuron(D).describe()),
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's autoencoder; None if it has none."""
    for pattern, replacement in _PARTS:
        if re.match(pattern, key):
            return 'neck.' + re.sub(pattern, replacement, key)
    return rename_encoder(key)


def _decoder(tensors: dict[str, Tensor]) -> nn.Module:
    """The decoder that weights fit, without memory. Heads leave no trace: 4 always."""
    from mmspike.selfsup import SMAEDecoder  # it needs mmpretrain

    width, channels = sizes_of(tensors, 'neck.decoder_embed.weight', 2)
    _, patches, _ = sizes_of(tensors, 'neck.decoder_pos_embed', 3)
    pixels, _ = sizes_of(tensors, 'neck.decoder_pred.weight', 2)
    image_channels = tensors[STEM].shape[1]
    patch_size = math.isqrt(pixels // image_channels) or 1
    blocks = {
        match[1] for key in tensors if (match := re.match(r'neck\.decoder_blocks\.(\d+)', key))
    }
    with torch.device('meta'):
        return SMAEDecoder(
            img_size=math.isqrt(patches) * patch_size,
            patch_size=patch_size,
            in_chans=image_channels,
            embed_dim=channels,
            decoder_embed_dim=width,
            decoder_depth=len(blocks),
        )
