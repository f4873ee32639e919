import torch
from torch import nn

from mmspike.ann2snn.readers import Readers
from mmspike.neurons import LIF, SFA


class Net(nn.Module):
    """Convolutions whose outputs have one reader, two, or one outside of the model."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(5))
        self.neurons = nn.ModuleList(SFA() for _ in range(5))
        self.part = nn.Sequential(nn.Conv2d(3, 3, 1))
        self.shared = LIF()

    def forward(self, x):
        alone = self.neurons[0](nn.Identity()(self.convs[0](x)))
        twice = self.convs[1](alone)
        twice = self.neurons[1](twice) + twice.abs()
        view = self.convs[2](twice)
        flat = view.flatten(2)  # shares the memory of what the neuron reads
        view = self.neurons[2](view) + flat.view_as(view)
        returned = self.convs[3](view)
        of_part = self.part(self.neurons[3](returned))
        summed = self.neurons[4](of_part) + view
        shared = self.shared(self.convs[4](summed)) + self.shared(summed)
        return dict(out=shared, features=[returned])


def test_sole_readers_of_outputs():
    net = Net()
    readers = Readers(
        net, lambda model: model(torch.rand(2, 3, 4, 4)), (nn.Conv2d,), (SFA, LIF), [net.part]
    )
    assert readers.sole() == [
        (net.convs[0], net.neurons[0]),
        (net.convs[4], net.shared),
    ]
    assert readers.calls[net.shared] == 2
    assert readers.calls[net.convs[4]] == 1


def test_no_hook_is_left_behind():
    net = Net()
    Readers(net, lambda model: model(torch.rand(1, 3, 4, 4)), (nn.Conv2d,), (SFA, LIF))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
