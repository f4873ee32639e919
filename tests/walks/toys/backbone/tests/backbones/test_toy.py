import torch

from mmspike.backbones import Toy


def test_shapes_and_strides():
    net = Toy(4, timesteps=3, out_indices=(0, 2))
    maps = net(torch.rand(2, 3, 32, 32))
    assert [tuple(x.shape) for x in maps] == [(6, 4, 16, 16), (6, 16, 4, 4)]
    assert (net.out_channels, net.out_strides) == ((4, 16), (2, 8))
