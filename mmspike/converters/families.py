"""Recognising the model of a checkpoint by its keys."""

import re

# (what the file looks like, patterns that must each match some key); the first hit decides
FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        'an mmspike checkpoint, already converted',
        (r'^backbone\.stages\.0\.(downsample|conv)\.conv\.',),
    ),
    (
        'an SDT v3 detection or segmentation checkpoint',
        (r'^backbone\.downsample1_1\.', r'\.pwconv1\.0\.'),
    ),
    (
        'an SDT v3 base classifier',
        (r'^downsample1_1\.encode_conv\.', r'^ConvBlock1_1\.0\.Conv\.pwconv1\.0\.'),
    ),
    (
        'an SDT v2 (Meta-SpikeFormer) checkpoint',
        (r'^(backbone\.)?downsample1_1\.encode_conv\.', r'\.Conv\.pwconv1\.weight$'),
    ),
    ('an SDT v3 masked-autoencoder checkpoint', (r'^mask_token$', r'^decoder_')),
    (
        'an SDT v3 large checkpoint',
        (r'^block3?\.\d+\.', r'attn\.q_conv\.', r'^(head_kd|downsample)'),
    ),
    ('an SDT v1 checkpoint', (r'^patch_embed\.proj_conv\.', r'^block\.\d+\.attn\.')),
    (
        'a Masked Spiking Transformer (MST) checkpoint',
        (r'^layers\.\d+\.blocks\.\d+\.attn\.', r'^patch_embed\.(norm\.running_mean|proj_if\.up)$'),
    ),
    (
        'a Swin transformer checkpoint',
        (r'^layers\.\d+\.blocks\.\d+\.attn\.', r'relative_position_bias_table$'),
    ),
)
SDTV3_DENSE = FAMILIES[1][0]
SDTV3_BASE = FAMILIES[2][0]
SDT_V1 = FAMILIES[6][0]
MST_CLASSIFIER = FAMILIES[-2][0]


def identify(keys: list[str]) -> str:
    """Return the model that a checkpoint's keys belong to.

    Args:
        keys: Parameter names, without a leading ``module.``.

    Returns:
        A phrase with its article: one of those in :data:`FAMILIES`, or one that quotes keys.
    """
    for name, patterns in FAMILIES:
        if all(any(re.search(pattern, key) for key in keys) for pattern in patterns):
            return name
    return f'a model unknown here (its {len(keys)} keys begin with {", ".join(keys[:3])})'
