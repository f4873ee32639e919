"""A small masked autoencoder for 32x32 pixels, of 16 patches."""

import torch
from mmpretrain.models.utils import SelfSupDataPreprocessor

from mmspike.selfsup import SMAE, SMAEDecoder, SMAEEncoder, SMAEHead
from support.reference_smae import LOSS

ARCH = dict(
    embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 1), num_heads=2, stem_stride=1, rep_expansion=None
)
MEAN, STD = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]


def small_smae(to_rgb: bool = False, **options) -> SMAE:
    """The model; options are those of the encoder."""
    torch.manual_seed(0)
    return SMAE(
        SMAEEncoder(ARCH, **options),
        SMAEDecoder(32, 8, embed_dim=8, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2),
        SMAEHead(LOSS, norm_pix=True, patch_size=8),
        data_preprocessor=SelfSupDataPreprocessor(mean=MEAN, std=STD, to_rgb=to_rgb),
    )
