import torch

from mmspike.neurons import Toy


def test_it_fires_at_its_threshold():
    spikes = Toy(threshold=0.5)(torch.tensor([[0.4, 0.5, 2.0]]))
    assert spikes.tolist() == [[0.0, 1.0, 1.0]]


def test_it_has_the_gradient_of_its_surrogate():
    x = torch.tensor([[0.5, 99.0]], requires_grad=True)
    Toy(threshold=0.5)(x).sum().backward()
    assert x.grad[0, 0] > 0.5
    assert x.grad[0, 1] == 0
