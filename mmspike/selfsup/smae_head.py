"""SMAEHead: the reconstruction loss, and images from predictions."""

from mmpretrain.models.heads import MAEPretrainHead
from torch import Tensor

from mmspike.registry import MODELS


@MODELS.register_module()
class SMAEHead(MAEPretrainHead):
    """MAE's head for images of any aspect ratio.

    With ``norm_pix=True`` the target of a patch is normalised by its own mean and standard
    deviation, as in the reference (BICLab/Spike-Driven-Transformer-V3, ``MAE_SDT.py``).
    Arguments are those of ``mmpretrain.models.MAEPretrainHead``.
    """

    def patchify(self, imgs: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to patches ``(B, L, p * p * C)`` in raster order.

        Raises:
            ValueError: H or W is no multiple of the patch's side p.
        """
        p = self.patch_size
        if imgs.shape[2] % p or imgs.shape[3] % p:
            raise ValueError(
                f'images of shape {tuple(imgs.shape)} cannot be cut into patches of {p}x{p} pixels'
            )
        patches = imgs.unfold(2, p, p).unfold(3, p, p)  # (B, C, rows, columns, p, p)
        return patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)

    def unpatchify(self, x: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """The way back: patches ``(B, L, p * p * C)`` to images ``(B, C, H, W)``.

        Args:
            x: Patches.
            grid: Rows and columns of the patches; None for as many of both.
        """
        p, side = self.patch_size, int(x.shape[1] ** 0.5)
        grid = (side, side) if grid is None else grid
        patches = x.unflatten(-1, (p, p, self.in_channels)).unflatten(1, grid)
        return patches.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)

    def pixels(self, pred: Tensor, images: Tensor) -> Tensor:
        """Predicted patches as pixels: with ``norm_pix`` each gets its target's mean and deviation.

        Args:
            pred: ``(B, L, p * p * C)``.
            images: The whole images ``(B, C, H, W)``.
        """
        if not self.norm_pix:
            return pred
        target = self.patchify(images)
        deviation = (target.var(-1, keepdim=True) + 1e-6).sqrt()
        return pred * deviation + target.mean(-1, keepdim=True)
