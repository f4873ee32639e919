"""SMAEEncoder: SDTV3Large on images whose patches are partly masked."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike.backbones import SDTV3Large
from mmspike.backbones.sdt_v3_large import CONV_STAGES
from mmspike.layers.visible_norm import VisibleNorm, only_visible, positions_of
from mmspike.registry import MODELS
from mmspike.selfsup.masks import Masks, check_mask_ratio, masks_from


@MODELS.register_module()
class SMAEEncoder(SDTV3Large):
    """The encoder of spiking masked autoencoding (SMAE, arXiv 2411.16061).

    A patch is a token of the transformer blocks: 16x16 pixels at the default stem stride. The stem
    computes visible patches alone. The transformer blocks see all tokens; those of masked patches
    begin as zeros. The parameters have the names of :class:`~mmspike.backbones.SDTV3Large`'s, which
    takes them from a checkpoint with
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.

    Args:
        arch: See :class:`~mmspike.backbones.SDTV3Large`.
        mask_ratio: Share of masked patches.
        stem_norm_cfg: Config of the norms of the stem: ``mmspike.VisibleBN``, or
            ``mmspike.VisibleSyncBN`` for statistics over all processes.
        legacy_token_order: Put out the tokens of all patches. A decoder then reads them in
            shuffled order instead of filling in mask tokens, as the released pre-training does.
        layer_scale_init_value: See :class:`~mmspike.backbones.SDTV3Large`.
        **options: See :class:`~mmspike.backbones.SDTV3Large`. The only output is the last stage,
            averaged over time.

    Raises:
        TypeError, ValueError: An option is not acceptable; the message names it.
    """

    def __init__(
        self,
        arch: str | dict = '12-512',
        *,
        mask_ratio: float = 0.5,
        stem_norm_cfg: dict = dict(type='mmspike.VisibleBN'),
        legacy_token_order: bool = False,
        layer_scale_init_value: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            arch,
            stem_norm_cfg=stem_norm_cfg,
            layer_scale_init_value=layer_scale_init_value,
            out_indices=(-1,),
            readout=True,
            **options,
        )
        self.mask_ratio = check_mask_ratio(mask_ratio)
        self.legacy_token_order = legacy_token_order
        self._check_norms()

    @property
    def patch_size(self) -> int:
        """Side of a patch, in pixels."""
        return self.out_strides[-1]

    def forward(
        self, x: Tensor, mask: bool | None = True, noise: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Encode masked images, or whole ones.

        Args:
            x: Images ``(B, C, H, W)``; H and W are multiples of ``patch_size``.
            mask: Mask patches; None or False returns the maps of the whole images, as
                :class:`~mmspike.backbones.SDTV3Large` does.
            noise: ``(B, L)``, the L patches of an image with the largest noise are masked. None
                draws it.

        Returns:
            Tokens ``(B, visible, C')`` in shuffled order, with ``legacy_token_order`` tokens
            ``(B, L, C')`` in raster order; ``mask`` and ``ids_restore`` of
            :class:`~mmspike.selfsup.masks.Masks`.

        Raises:
            ValueError: The images are of a wrong shape, no patch would be masked or visible, or the
                norms of the stem were replaced.
        """
        if not mask:
            return super().forward(x)
        rows, columns = self.grid_of(x)
        self._check_norms()
        if noise is None:
            noise = torch.rand(x.shape[0], rows * columns, device=x.device)
        masks = masks_from(noise, self.mask_ratio)
        visible = (masks.mask == 0).view(-1, rows, columns)
        with only_visible(visible):
            (feature,) = super().forward(x * positions_of(x, visible).unsqueeze(1))
        return self._tokens(feature.flatten(2), masks), masks.mask, masks.ids_restore

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of the patches of images ``(B, C, H, W)``.

        Raises:
            ValueError: H or W is no multiple of ``patch_size``, or the shape is another one.
        """
        size = self.patch_size
        if images.dim() != 4 or images.shape[2] % size or images.shape[3] % size:
            raise ValueError(
                f'masked pre-training needs images (B, C, H, W) whose height and width are '
                f'multiples of {size}, got shape {tuple(images.shape)}; resize or crop them'
            )
        return images.shape[2] // size, images.shape[3] // size

    def _tokens(self, feature: Tensor, masks: Masks) -> Tensor:
        """The tokens for the decoder, of ``(B, C', L)``."""
        every = torch.arange(feature.shape[2], device=feature.device).expand_as(masks.mask)
        ids = every if self.legacy_token_order else masks.ids_keep
        # Gathered before the axes change, so that the gradient of the map is laid out as the map:
        # torch's batch norm misreads some other layouts of a batch of one (docs/parity.md).
        return feature.gather(2, ids.unsqueeze(1).expand(-1, feature.shape[1], -1)).mT

    def _check_norms(self) -> None:
        stem = [*self.stages[:CONV_STAGES], self.stages[CONV_STAGES].downsample]
        for part in stem:
            for module in part.modules():
                if isinstance(module, _BatchNorm) and not isinstance(module, VisibleNorm):
                    raise ValueError(
                        f'a norm of the stem is a {type(module).__name__}, which sees masked '
                        'patches; set stem_norm_cfg to mmspike.VisibleBN, or to '
                        'mmspike.VisibleSyncBN instead of sync_bn in the runner'
                    )
