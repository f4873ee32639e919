import pytest
import torch
from torch import nn

from mmspike.energy import EnergyCounter
from mmspike.neurons import IF, SFA
from mmspike.recorders.firing_rates import FiringRateRecorder


def test_counts_spikes_of_integers_whatever_their_norm():
    model = nn.ModuleDict(dict(a=SFA(D=4), b=SFA(D=4, norm=1), c=IF(timesteps=2), d=IF()))
    x = torch.tensor([[0.2, 3.0], [9.0, -1.0]])
    with FiringRateRecorder(model) as recorder:
        for key in ('a', 'b', 'c'):
            model[key](x)
    a, b, c, d = recorder.rates()
    assert (a.spikes, a.active, a.outputs) == (b.spikes, b.active, b.outputs) == (7, 2, 4)
    assert (a.rate, a.active_fraction) == (1.75, 0.5)
    # Neuron 0 gets 0.2 then 9, neuron 1 gets 3 (fires) then -1.
    assert (c.spikes, c.outputs) == (2, 4)
    assert (d.outputs, d.rate) == (0, 0.0)


def test_sums_over_batches_of_different_size():
    model = nn.Sequential(SFA(D=1))
    with FiringRateRecorder(model) as recorder:
        model(torch.ones(3, 1))
        model(torch.zeros(1, 1))
    assert recorder.rates()[0].rate == 0.75


def test_leaves_the_model_as_it_was():
    model = nn.Sequential(SFA(D=1))
    with pytest.raises(RuntimeError, match='stop'), FiringRateRecorder(model) as recorder:
        model(torch.ones(2, 1))
        raise RuntimeError('stop')
    model(torch.ones(2, 1))
    assert recorder.rates()[0].outputs == 2
    assert not model[0]._forward_hooks


def test_model_without_neurons():
    with pytest.raises(ValueError, match='Linear has no neurons'):
        FiringRateRecorder(nn.Linear(1, 1))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_recorder_inside_a_counter_is_no_part_of_the_network(dtype):
    net = nn.Sequential(SFA(D=4), nn.Conv2d(3, 2, 1)).to(dtype)
    x = torch.rand(2, 3, 4, 4).to(dtype) * 4
    with torch.no_grad(), EnergyCounter(net) as counter, FiringRateRecorder(net) as recorder:
        net(x)
    counts = counter.counts()
    assert list(counts.layers) == ['1']
    assert recorder.rates() == counts.rates()


def test_counts_where_the_model_is_whatever_the_default_device():
    model = nn.Sequential(SFA(D=4))
    with torch.device('meta'), FiringRateRecorder(model) as recorder:
        model(torch.ones(2, 3, 4, 4, device='cpu'))
    assert recorder.rates()[0].rate == 1


def test_a_compiled_model_is_recorded_as_well():
    model = nn.Sequential(SFA(D=4))
    # torch 2.6 cannot leave its functions' mode inside of one graph (docs/get_started.md).
    fullgraph = not torch.__version__.startswith('2.6.')
    with FiringRateRecorder(model) as recorder:
        torch.compile(model, fullgraph=fullgraph, backend='eager')(torch.ones(2, 3, 4, 4))
    assert recorder.rates()[0].rate == 1
