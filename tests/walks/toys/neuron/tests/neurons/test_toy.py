import pytest
import torch

from mmspike.neurons import Toy
from mmspike.neurons.kernels.backend import neuron_backend


@pytest.mark.parametrize('backend', ['reference', 'cpu'])
def test_it_fires_at_its_threshold(backend):
    x = torch.tensor([[0.4, 0.5, 2.0]], requires_grad=True)
    with neuron_backend(backend):
        spikes = Toy(threshold=0.5)(x)
        spikes.sum().backward()
    assert spikes.tolist() == [[0.0, 1.0, 1.0]]
    assert x.grad.tolist() == [[1.0, 1.0, 0.0]]
