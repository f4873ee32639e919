"""SMAEDecoder: a small vision transformer that predicts masked pixels."""

from typing import Any

import torch
from mmpretrain.models.necks import MAEPretrainDecoder
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor, nn

from mmspike.registry import MODELS


@MODELS.register_module()
class SMAEDecoder(MAEPretrainDecoder):
    """MAE's decoder behind a batch norm, without a class token and without biases of q, k and v.

    It predicts all patches in raster order. A learned mask token stands for each patch whose token
    is not given; sine-cosine positions are added. The decoder does not spike: it serves
    pre-training alone.

    Args:
        img_size: Height and width of the images, or one number for both. Images of other sizes get
            the positions of their own grid.
        patch_size: Side of a patch.
        embed_dim: Channels of the encoder's tokens.
        decoder_embed_dim: Channels of the decoder, a multiple of 4.
        decoder_depth: Number of its blocks.
        decoder_num_heads: Number of their heads.
        **options: ``in_chans``, ``mlp_ratio``, ``norm_cfg``, ``predict_feature_dim`` and
            ``init_cfg``; see ``mmpretrain.models.MAEPretrainDecoder``.

    Raises:
        ValueError: ``img_size`` is no multiple of ``patch_size``.
    """

    decoder_pos_embed: Tensor

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        embed_dim: int = 512,
        decoder_embed_dim: int = 256,
        decoder_depth: int = 4,
        decoder_num_heads: int = 4,
        **options: Any,
    ) -> None:
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        if height % patch_size or width % patch_size:
            raise ValueError(
                f'img_size must be a multiple of patch_size={patch_size}, got {img_size}'
            )
        super().__init__(
            patch_size=patch_size,
            embed_dim=embed_dim,
            decoder_embed_dim=decoder_embed_dim,
            decoder_depth=decoder_depth,
            decoder_num_heads=decoder_num_heads,
            **options,
        )
        self.encoder_norm = nn.BatchNorm1d(embed_dim)
        for block in self.decoder_blocks:
            block.attn.qkv = nn.Linear(decoder_embed_dim, 3 * decoder_embed_dim, bias=False)
        self.grid = height // patch_size, width // patch_size
        # No parameter as in MAE: it is not learned.
        del self.decoder_pos_embed
        self.register_buffer('decoder_pos_embed', _sincos(self.grid, decoder_embed_dim))

    def init_weights(self) -> None:
        """Initialise from ``init_cfg``; the mask token as MAE does."""
        super(MAEPretrainDecoder, self).init_weights()  # without MAE's table of positions
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self, x: Tensor, ids_restore: Tensor, grid: tuple[int, int] | None = None
    ) -> Tensor:
        """Predict the pixels of all patches.

        Args:
            x: Tokens ``(B, given, C)``: those of the first patches of the shuffled order.
            ids_restore: ``(B, L)``, the place of each patch in the shuffled order.
            grid: Rows and columns of the patches; None: those of ``img_size``.

        Returns:
            ``(B, L, patch_size**2 * channels)``, in raster order.
        """
        x = self.decoder_embed(self.normed(x))
        absent = ids_restore.shape[1] - x.shape[1]
        x = torch.cat([x, self.mask_token.expand(x.shape[0], absent, -1)], 1)
        x = x.gather(1, ids_restore.unsqueeze(-1).expand_as(x)) + self._positions(grid)
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))

    def normed(self, x: Tensor) -> Tensor:
        """The encoder's tokens ``(B, given, C)`` behind the batch norm."""
        return self.encoder_norm(x.flatten(0, 1)).view(x.shape)

    def _positions(self, grid: tuple[int, int] | None) -> Tensor:
        """``(1, L, decoder_embed_dim)``."""
        if grid is None or grid == self.grid:
            return self.decoder_pos_embed
        return _sincos(grid, self.decoder_pos_embed.shape[-1]).to(self.decoder_pos_embed)


def _sincos(grid: tuple[int, int], channels: int) -> Tensor:
    """Positions ``(1, L, channels)`` in raster order: half the channels for columns, then rows."""
    rows, columns = grid
    by_column = build_2d_sincos_position_embedding(grid, channels)
    return by_column.view(columns, rows, channels).transpose(0, 1).reshape(1, -1, channels)
