import numpy as np
import pytest
import torch

from mmspike.selfsup.pictures import picture, rendered, to_pixels
from support.small_smae import small_smae


@pytest.mark.parametrize('to_rgb', [False, True])
def test_pixels_are_those_that_were_read_as_rgb(to_rgb):
    model = small_smae(to_rgb)
    read = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)  # BGR
    images = model.data_preprocessor(dict(inputs=read, data_samples=[]))['inputs']
    expected = read.permute(0, 2, 3, 1).numpy()[..., ::-1]
    assert np.array_equal(to_pixels(images, model.data_preprocessor), expected)
    far = to_pixels(images * 100, model.data_preprocessor)
    assert far.dtype == np.uint8
    assert {0, 255} <= set(far.flatten().tolist())


def test_a_picture_shows_the_reconstruction():
    model = small_smae().eval()
    images, noise = torch.randn(3, 3, 32, 32), torch.rand(3, 16)
    figure = picture(model, images, noise)
    found = model.reconstruct(images, noise)
    shown = [axis.images[0].get_array() for axis in figure.axes]
    expected = [
        to_pixels(part, model.data_preprocessor)
        for part in (found.original, found.masked, found.predicted)
    ]
    assert np.array_equal(np.stack(shown), np.concatenate(expected))
    assert figure.get_suptitle() == f'50 % masked, loss {found.loss.item():.3f}'
    pixels = rendered(figure)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.min() == 0
    assert pixels.max() == 255
