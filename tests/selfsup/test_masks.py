import pytest
import torch

from mmspike.selfsup.masks import check_mask_ratio, masks_from


def test_the_patches_with_the_largest_noise_are_masked():
    masks = masks_from(torch.tensor([[0.3, 0.9, 0.1, 0.5], [0.8, 0.2, 0.7, 0.6]]), 0.5)
    assert masks.mask.tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert masks.ids_keep.tolist() == [[2, 0], [1, 3]]
    assert masks.ids_restore.tolist() == [[1, 3, 0, 2], [3, 0, 2, 1]]


@pytest.mark.parametrize(('ratio', 'masked'), [(0.5, 98), (0.75, 147), (0.6, 118), (0.9, 176)])
def test_as_many_as_the_ratio_says(ratio, masked):
    mask = masks_from(torch.rand(3, 196), ratio).mask
    assert mask.sum(1).tolist() == [masked] * 3


@pytest.mark.parametrize('ratio', [0, 1, 0.0, 1.0, -0.5, 1.5])
def test_a_ratio_that_masks_nothing_or_all_is_refused(ratio):
    with pytest.raises(ValueError, match=f'mask_ratio must lie between 0 and 1, got {ratio}'):
        check_mask_ratio(ratio)


def test_a_ratio_is_a_number():
    with pytest.raises(TypeError, match="mask_ratio must be a number, got 'half'"):
        check_mask_ratio('half')


@pytest.mark.parametrize(('ratio', 'visible'), [(0.9, 0), (0.1, 4)])
def test_too_few_patches_for_a_ratio(ratio, visible):
    with pytest.raises(ValueError, match=f'mask_ratio={ratio} leaves {visible} of 4 patches'):
        masks_from(torch.rand(1, 4), ratio)
