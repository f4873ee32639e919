"""SDT, whose attention masks spikes with spikes, is spike-driven as it is."""

import pytest
import torch
from torch import nn

from mmspike.backbones import SDT
from mmspike.energy import EnergyCounter
from mmspike.execution import check_spike_driven, compare_executions, set_execution
from support.firing_networks import give_statistics


@pytest.fixture(params=[{}, dict(dvs_pool=True), dict(dvs_pool=True, legacy_dvs_pool=True)])
def net(request):
    torch.manual_seed(0)
    net = SDT(dict(embed_dims=16, depth=2), pooling_stat='0111', timesteps=3, **request.param)
    images = torch.randn(2, 3, 32, 32)
    give_statistics(net, lambda: net(images))
    for module in net.modules():
        # Statistics alone leave membranes around 0.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2)
            nn.init.constant_(module.bias, 0.5)
    return net, images


def test_switching_changes_nothing_and_all_but_the_first_layer_take_spikes(net):
    net, images = net
    with torch.no_grad():
        expected = net(images)[0]
        with EnergyCounter(net, strict=True) as counter:
            net(images)
        set_execution(net, 'spike')
        assert torch.equal(net(images)[0], expected)
    inputs = check_spike_driven(net, lambda: net(images))
    assert len(inputs) == 5 + 2 * 6
    assert [one.layer for one in inputs if not one.binary] == ['stages.0.conv.conv']
    assert all(not one.largest for one in compare_executions(net, lambda: net(images)))
    counts = counter.counts()
    analog = [name for name, layer in counts.layers.items() if layer.analog_macs]
    assert analog == ['stages.0.conv.conv']
    assert all(layer.spikes for name, layer in counts.layers.items() if name not in analog)
    assert sum(layer.kind in ('mask', 'sum') for layer in counts.layers.values()) == 2 * 3
