import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmspike.neurons import LIF, QCFS, NeuronMismatchError, SpikingQCFS, set_stateful
from mmspike.neurons.kernels.backend import neuron_backend


def test_worked_by_hand():
    neuron = SpikingQCFS(init_threshold=2.0, timesteps=4)
    # Half charged: 0.5, then +0.5 a step. Spikes at 1.0, (0.5), 1.0, (0.5) and so on.
    x = torch.tensor([1.0, -0.5, 9.0]).repeat(4, 1)
    out = neuron(x)
    assert out[:, 0].tolist() == [2, 0, 2, 0]
    assert out[:, 1].tolist() == [0, 0, 0, 0]
    # At most one spike a step, however much comes in.
    assert out[:, 2].tolist() == [2, 2, 2, 2]
    assert neuron.spike_value == 2.0
    assert neuron.max_spikes == 1


def test_the_membrane_may_become_negative():
    neuron = SpikingQCFS(init_threshold=1.0, timesteps=4)
    # 0.5 - 2 = -1.5; then 0.25, which is below the threshold; 1.25 fires; 0.25.
    x = torch.tensor([-2.0, 1.75, 1.0, 0.0])
    assert neuron(x).tolist() == [0, 0, 1, 0]


@given(
    level=st.integers(0, 16),
    offset=st.floats(-0.49, 0.49),
    levels=st.sampled_from([1, 2, 4, 8, 16]),
    threshold=st.floats(0.1, 8),
)
def test_its_rate_over_as_many_steps_as_levels_is_qcfs(level, offset, levels, threshold):
    """The theorem that conversion rests on, away from ties of the rounding."""
    x = torch.tensor([(level + offset) / levels * threshold], dtype=torch.float64)
    spiking = SpikingQCFS(init_threshold=threshold, timesteps=levels).double()
    quantised = QCFS(levels=levels, init_threshold=threshold).double()
    rate = spiking(x.repeat(levels)).mean()
    torch.testing.assert_close(rate, quantised(x).squeeze(), rtol=1e-6, atol=1e-9)


def test_low_precision_currents_are_rounded_by_the_division_and_added_in_float32():
    neuron = SpikingQCFS(init_threshold=3.0, stateful=True)
    neuron(torch.ones(1, dtype=torch.bfloat16))
    third = 171 / 512  # the bfloat16 next to 1/3
    assert neuron.v.dtype == torch.float32
    assert neuron.v.tolist() == [0.5 + third]


def test_chunks_go_on_where_the_last_one_ended():
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    whole = SpikingQCFS(init_threshold=0.7, timesteps=8)(x)
    neuron = SpikingQCFS(init_threshold=0.7, timesteps=2)
    set_stateful(neuron)
    assert torch.equal(torch.cat([neuron(part) for part in x.split(2)]), whole)
    neuron.reset()
    assert torch.equal(neuron(x[:2]), whole[:2])


def test_kernel_is_the_reference():
    x = torch.randn(12, 33, generator=torch.Generator().manual_seed(2))
    neuron = SpikingQCFS(init_threshold=0.6, timesteps=4)
    fused = neuron(x)
    with neuron_backend('reference'):
        assert torch.equal(neuron(x), fused)


def test_it_learns():
    neuron = SpikingQCFS(timesteps=2)
    x = torch.randn(4, 3, requires_grad=True)
    neuron(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert neuron.threshold.grad is not None


def test_takes_the_weights_of_qcfs_and_of_no_other_neuron():
    trained = nn.Sequential(QCFS(levels=8, init_threshold=0.3))
    spiking = nn.Sequential(SpikingQCFS())
    spiking.load_state_dict(trained.state_dict())
    assert spiking[0].spike_value == pytest.approx(0.3)
    with pytest.raises(NeuronMismatchError, match='LIF'):
        spiking.load_state_dict(nn.Sequential(LIF()).state_dict())
    with pytest.raises(NeuronMismatchError, match='SpikingQCFS'):
        nn.Sequential(QCFS()).load_state_dict(spiking.state_dict())


@pytest.mark.parametrize('value', [0, -1.0, float('nan')])
def test_refuses_thresholds_that_are_not_positive(value):
    with pytest.raises(ValueError, match='init_threshold'):
        SpikingQCFS(init_threshold=value)
