import torch
from torch import nn

from mmspike.energy import EnergyCounter
from mmspike.neurons import SFA


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fire = SFA(D=4)

    def forward(self, x, v):
        return torch.outer(self.fire(x[None])[0], v)


def test_outer_is_counted():
    net, x, v = Outer(), torch.tensor([0.3, 1.2, 9.0]), torch.ones(5)
    with EnergyCounter(net) as counter:
        net(x, v)
    (layer,) = counter.counts().layers.values()
    assert not counter.counts().uncounted
    assert (layer.macs, layer.spikes, layer.sops) == (15, 5, 25)
