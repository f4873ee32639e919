import pytest
import torch
from mmpretrain.models import MAEPretrainHead

from mmspike.selfsup import SMAEHead
from support.reference_smae import LOSS


def head(**options):
    return SMAEHead(LOSS, **{**dict(patch_size=2, in_channels=3), **options})


def test_patches_are_those_of_mae_and_come_back():
    images = torch.randn(2, 3, 8, 8)
    stock = MAEPretrainHead(LOSS, patch_size=2)
    assert torch.equal(head().patchify(images), stock.patchify(images))
    assert torch.equal(head().unpatchify(head().patchify(images)), images)


def test_images_need_not_be_square():
    images = torch.randn(2, 3, 4, 6)
    patches = head().patchify(images)
    assert patches.shape == (2, 6, 12)
    assert torch.equal(patches[0, 4].view(2, 2, 3), images[0, :, 2:4, 2:4].permute(1, 2, 0))
    assert torch.equal(head().unpatchify(patches, (2, 3)), images)


def test_predictions_of_normed_patches_become_pixels():
    images = torch.randn(2, 3, 4, 6) * 7 + 3
    for norm_pix in (False, True):
        one = head(norm_pix=norm_pix)
        pixels = one.pixels(one.construct_target(images), images)
        torch.testing.assert_close(pixels, one.patchify(images), rtol=1e-4, atol=1e-4)


def test_the_loss_is_that_of_masked_patches():
    images = torch.zeros(1, 3, 2, 4)
    pred = torch.stack([torch.full((1, 12), 2.0), torch.full((1, 12), 5.0)], 1)
    assert head().loss(pred, images, torch.tensor([[1.0, 0.0]])).item() == 4


def test_sizes_that_are_no_multiples_are_refused():
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 5\) cannot be cut into patches of 2x2'):
        head().patchify(torch.rand(1, 3, 4, 5))
