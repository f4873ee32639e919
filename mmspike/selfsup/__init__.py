"""Masked pre-training of spiking transformers, for mmpretrain."""

from mmspike.versions import check_version

check_version('mmpretrain')

from mmspike.selfsup.smae import SMAE  # noqa: E402
from mmspike.selfsup.smae_decoder import SMAEDecoder  # noqa: E402
from mmspike.selfsup.smae_encoder import SMAEEncoder  # noqa: E402
from mmspike.selfsup.smae_head import SMAEHead  # noqa: E402

__all__ = ['SMAE', 'SMAEDecoder', 'SMAEEncoder', 'SMAEHead']
