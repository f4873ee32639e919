"""SMAE: spiking masked autoencoding (arXiv 2411.16061)."""

from dataclasses import dataclass
from typing import Any

import torch
from mmpretrain.models.selfsup import MAE
from mmpretrain.structures import DataSample
from torch import Tensor

from mmspike.registry import MODELS


@dataclass(frozen=True)
class Reconstruction:
    """What a masked autoencoder makes of images, each ``(B, C, H, W)``, normalised as its input.

    Attributes:
        original: The images.
        masked: The images with zeros in masked patches.
        predicted: Predictions in masked patches, the image in visible ones.
        loss: The loss of the predictions, a single number.
    """

    original: Tensor
    masked: Tensor
    predicted: Tensor
    loss: Tensor


@MODELS.register_module()
class SMAE(MAE):
    """Spiking masked autoencoder: it learns to predict the pixels of masked patches.

    Its parts are a :class:`~mmspike.selfsup.SMAEEncoder`, a :class:`~mmspike.selfsup.SMAEDecoder`
    as neck and a :class:`~mmspike.selfsup.SMAEHead`. Arguments are those of
    ``mmpretrain.models.MAE``.

    Raises:
        ValueError: Encoder, decoder and head have patches of different sizes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        size, channels = self.backbone.patch_size, self.backbone.in_channels
        predicted, head = self.neck.decoder_pred.out_features, self.head
        given = predicted, head.patch_size, head.in_channels
        if given != (size**2 * channels, size, channels):
            raise ValueError(
                f'a patch of the encoder has {size}x{size} pixels of {channels} channels, the '
                f'decoder predicts {predicted} numbers, and the head has patch_size='
                f'{head.patch_size} and in_channels={head.in_channels}; set patch_size={size} in '
                f'both, in_chans={channels} in the decoder and in_channels={channels} in the head'
            )

    def loss(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """The reconstruction loss of a batch ``(B, C, H, W)``.

        Raises:
            ValueError: The images are no multiples of the patches.
        """
        pred, mask = self.predict_patches(inputs)
        return dict(loss=self.head.loss(pred, inputs, mask))

    def predict_patches(self, images: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mask images and predict all patches.

        Args:
            images: ``(B, C, H, W)``.
            noise: ``(B, L)``, see :meth:`SMAEEncoder.forward`.

        Returns:
            Predictions ``(B, L, p * p * C)`` and the mask ``(B, L)``, 1 where a patch is masked.
        """
        tokens, mask, ids_restore = self.backbone(images, noise=noise)
        return self.neck(tokens, ids_restore, self.backbone.grid_of(images)), mask

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor | None = None) -> Reconstruction:
        """Mask images and fill in the predictions. Arguments as of :meth:`predict_patches`."""
        pred, mask = self.predict_patches(images, noise)
        grid, whole = self.backbone.grid_of(images), self.head.patchify(images)
        hidden = mask.unsqueeze(-1).bool()
        filled = torch.where(hidden, self.head.pixels(pred, images).to(whole), whole)
        return Reconstruction(
            original=images,
            masked=self.head.unpatchify(whole.masked_fill(hidden, 0), grid),
            predicted=self.head.unpatchify(filled, grid),
            loss=self.head.loss(pred, images, mask),
        )
