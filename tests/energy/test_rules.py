"""A function that mmspike does not know can be counted by a rule of the user's."""

import torch
from torch import nn

from mmspike.energy import EnergyCounter
from mmspike.energy.rules import RULES, Work, sums_of
from mmspike.neurons import SFA


class Outer(nn.Module):
    """Spikes times a vector, each with each."""

    def __init__(self):
        super().__init__()
        self.fire = SFA(D=4)

    def forward(self, x, v):
        return torch.outer(self.fire(x[None])[0], v)


def of_outer(function, args, kwargs):
    spikes, other = args
    total = sums_of(spikes).total
    return Work(
        kind='outer', macs=spikes.numel() * other.numel(), x=spikes, spikes=total, connected=total,
        repeats=other.numel(),
    )  # fmt: skip


def test_one_more_rule_counts_one_more_function(monkeypatch):
    net, x, v = Outer(), torch.tensor([0.3, 1.2, 9.0]), torch.ones(5)
    with EnergyCounter(net) as counter:
        net(x, v)
    assert counter.counts().uncounted == {'(model): outer': 1}
    assert not counter.counts().layers

    monkeypatch.setitem(RULES, 'outer', of_outer)
    with EnergyCounter(net) as counter:
        net(x, v)
    counts = counter.counts()
    (layer,) = counts.layers.values()
    assert not counts.uncounted
    assert (layer.kind, layer.macs, layer.spikes, layer.sops) == ('outer', 15, 5, 25)
