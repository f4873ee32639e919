"""Names of before: they work, and say the new ones."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from mmspike.ann2snn import convert_to_spiking, insert_qcfs, simulate
from mmspike.deprecation import renamed_arguments
from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.execution import SpikeTrain
from mmspike.neurons import SFA, BaseNeuron


@renamed_arguments(old='new')
def take(new=0, other=0):
    return new, other


def test_an_argument():
    with pytest.warns(DeprecationWarning, match=r'take\(old=\.\.\.\) .*: use new=') as caught:
        assert take(old=3, other=4) == (3, 4)
    assert caught[0].filename == __file__
    assert take(new=5) == (5, 0)
    with pytest.raises(TypeError, match='got new twice: old is its old name'):
        take(new=1, old=2)


def test_arguments_of_a_simulation():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2)).eval()
    insert_qcfs(net)
    net = convert_to_spiking(net)
    with pytest.warns(DeprecationWarning, match=r'simulate\((answer|encode|readout)=') as caught:
        simulation = simulate(net, 4, encode='', readout='3', answer='')
    assert len(caught) == 3
    for old, new in (('encode', ''), ('readout', '3'), ('answer', '')):
        with pytest.warns(DeprecationWarning, match=rf'Simulation\.{old} .*_module'):
            assert getattr(simulation, old) == new


def test_the_value_of_a_spike():
    with pytest.warns(DeprecationWarning, match=r'SFA\.step_value .*: use SFA\.spike_value'):
        assert SFA(D=4).step_value == 0.25
    train = SpikeTrain.of(torch.ones(2), 0.5, 4)
    with pytest.warns(DeprecationWarning, match=r'use SpikeTrain\.spike_value'):
        assert train.step_value == 0.5


def test_a_neuron_that_was_written_for_an_older_version():
    with pytest.warns(DeprecationWarning, match=r'Mine\.step_value .*: use Mine\.spike_value'):

        class Mine(BaseNeuron):
            @property
            def step_value(self):
                return 0.125

            def fire(self, x, v):
                return x, v

            def describe(self):
                return dict(type='Mine')

    assert Mine().spike_value == 0.125
    net = nn.Sequential(Mine(), nn.Linear(3, 2))
    with EnergyCounter(net) as counter:
        net(torch.full((1, 3), 0.25))
    assert counter.counts().layers['1'].sops == 2 * 3 * 2


def test_old_names_in_mixins_and_by_super():
    class Mixin:
        step_value = 5.0

    with pytest.warns(DeprecationWarning, match=r'use Mixed\.spike_value'):
        mixed = type('Mixed', (Mixin, SFA), {})

    with pytest.warns(DeprecationWarning, match=r'use Double\.spike_value'):

        class Double(SFA):
            @property
            def step_value(self):
                return 2 * super().step_value

    assert mixed(D=4).spike_value == 5.0
    with pytest.warns(DeprecationWarning, match=r'use Double\.spike_value'):
        assert Double(D=4).spike_value == 0.5


def test_energy_with_memory():
    net = nn.Linear(3, 2)
    with EnergyCounter(net) as counter:
        net(torch.ones(1, 3))
    totals = EnergyReport(counter, memory=True).totals
    with pytest.warns(DeprecationWarning, match=r'Totals\.both_mj .*total_mj'):
        assert totals.both_mj == totals.total_mj
    with pytest.warns(DeprecationWarning, match=r'Totals\.ann_both_mj .*ann_total_mj'):
        assert totals.ann_both_mj == totals.ann_total_mj


def test_functions():
    with pytest.warns(DeprecationWarning, match=r'use mmspike\.layers\.use_preactivation_neurons'):
        from mmspike.layers import put_neurons_first
    with pytest.warns(DeprecationWarning, match=r'use mmspike\.events\.camera\.record_pictures'):
        from mmspike.events.camera import simulate as record
    from mmspike.events.camera import EventCamera

    assert put_neurons_first.__name__ == 'use_preactivation_neurons'
    (events,) = record(np.ones((1, 24, 24)), EventCamera(), [(0,)])
    assert len(events.t)


@pytest.mark.filterwarnings('error:(SFA|Totals)', 'ignore::torch.jit.TracerWarning')
def test_whoever_looks_at_all_attributes_meets_no_warning():
    neuron = SFA(D=4)
    assert dict(inspect.getmembers(neuron))['spike_value'] == 0.25
    assert 'step_value' not in dir(neuron)
    net = nn.Sequential(nn.Linear(3, 4), SFA(D=4)).eval()
    x = torch.rand(2, 3)
    torch.testing.assert_close(torch.jit.trace(net, x, check_trace=False)(x), net(x))
    with EnergyCounter(net) as counter:
        net(x)
    names = dict(inspect.getmembers(EnergyReport(counter).totals))
    assert 'total_mj' in names
    assert 'both_mj' not in names
