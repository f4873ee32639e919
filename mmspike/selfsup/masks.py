"""Random masks over the patches of an image, as MAE draws them (arXiv 2111.06377)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmspike.checks import check_number


@dataclass(frozen=True)
class Masks:
    """Which of L patches are masked, for each of B images. Patches are in raster order.

    Attributes:
        mask: ``(B, L)``, 1 where a patch is masked and 0 where it is visible.
        ids_keep: ``(B, visible)``, the visible patches in shuffled order.
        ids_restore: ``(B, L)``, places of the patches in the shuffled order, where the visible ones
            come first.
    """

    mask: Tensor
    ids_keep: Tensor
    ids_restore: Tensor


def check_mask_ratio(mask_ratio: float) -> float:
    """Return a share of masked patches if it lies between 0 and 1.

    Raises:
        TypeError: It is no number.
        ValueError: It is outside; 0 and 1 are too.
    """
    ratio = check_number('mask_ratio', mask_ratio)
    if not 0 < ratio < 1:
        raise ValueError(
            f'mask_ratio must lie between 0 and 1, got {mask_ratio!r}: some patches have to be '
            'masked, and some visible'
        )
    return ratio


def masks_from(noise: Tensor, mask_ratio: float) -> Masks:
    """Mask the patches with the largest noise.

    Args:
        noise: ``(B, L)``, uniform random numbers.
        mask_ratio: Share of masked patches. The number of visible ones is rounded.

    Raises:
        ValueError: No patch would be masked, or none visible.
    """
    patches = noise.shape[1]
    visible = round(patches * (1 - mask_ratio))
    if not 0 < visible < patches:
        raise ValueError(
            f'mask_ratio={mask_ratio} leaves {visible} of {patches} patches visible; take larger '
            'images or another ratio'
        )
    ids_shuffle = noise.argsort(dim=1)
    ids_restore = ids_shuffle.argsort(dim=1)
    mask = (ids_restore >= visible).to(torch.float32)
    return Masks(mask, ids_shuffle[:, :visible], ids_restore)
