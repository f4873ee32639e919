import math

import pytest
import torch
from torch import nn

from mmspike.neurons import QCFS
from mmspike.neurons.kernels.backend import neuron_backend
from support.weights_alone import weights_alone

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize('dtype', DTYPES)
def test_worked_by_hand(dtype):
    # Steps of 0.5 from 0 to 2; halves of a step round up.
    x = torch.tensor([-9, -0.25, 0.2, 0.25, 0.5, 0.7, 0.75, 1.9, 2.0, 9], dtype=dtype)
    expected = [0, 0, 0, 0.5, 0.5, 0.5, 1.0, 2.0, 2.0, 2.0]
    out = QCFS(levels=4)(x)
    assert out.tolist() == expected
    assert out.dtype == dtype


@pytest.mark.parametrize('backend', ['auto', 'reference'])
def test_gradients_worked_by_hand(backend):
    neuron = QCFS(levels=4)
    # Below, at the lower end (rounds up to 0), inside, at the upper end (rounds down to 1), above.
    x = torch.tensor([-1.0, -0.25, 0.7, 2.2, 3.0], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    with neuron_backend(backend):
        (neuron(x) * weights).sum().backward()
    assert x.grad.tolist() == [0, 2, 4, 8, 0]
    # Inside: level - x / threshold. Above: 1.
    slopes = [0, 0 + 0.125, 0.25 - 0.35, 1 - 1.1, 1]
    expected = sum(w * s for w, s in zip(weights.tolist(), slopes, strict=True))
    assert neuron.threshold.grad.item() == pytest.approx(expected, rel=1e-5)


def test_gradients_are_those_of_the_formula_without_floor():
    """With many levels the steps vanish: what is left is a clamp with a learned upper end."""
    x = torch.randn(200, dtype=torch.float64, requires_grad=True)
    smooth = x.detach().clone().requires_grad_()
    neuron = QCFS(levels=10**8, init_threshold=0.7).double()
    top = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    neuron(x).square().sum().backward()
    torch.minimum(smooth.clamp(min=0), top).square().sum().backward()
    torch.testing.assert_close(x.grad, smooth.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(neuron.threshold.grad, top.grad[None], rtol=1e-5, atol=1e-5)


def test_defaults_are_those_of_masked_spiking_transformer():
    neuron = QCFS()
    assert neuron.levels == 16
    assert neuron.threshold.item() == 2.0
    assert neuron.threshold.shape == (1,)
    assert neuron.spike_value == 2 / 16


def test_time_steps_are_on_their_own():
    x = torch.randn(6, 5)
    assert torch.equal(QCFS(timesteps=3)(x), QCFS()(x))


def test_training_moves_the_threshold():
    neuron = QCFS()
    optimizer = torch.optim.SGD(neuron.parameters(), lr=0.1)
    (-neuron(torch.full((4,), 9.0))).sum().backward()  # more is wanted: raise the ceiling
    optimizer.step()
    assert neuron.threshold.item() == pytest.approx(2.4)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_a_low_precision_model_still_learns(dtype):
    neuron = QCFS().to(dtype)
    neuron(torch.full((2, 3), 9.0, dtype=dtype)).sum().backward()
    assert neuron.threshold.grad.dtype == dtype
    assert neuron.threshold.grad.item() == 6


def test_the_threshold_travels_in_the_checkpoint():
    saved, model = nn.Sequential(QCFS(init_threshold=5.0)), nn.Sequential(QCFS())
    assert list(weights_alone(saved.state_dict())) == ['0.threshold']
    model.load_state_dict(saved.state_dict())
    assert model[0].threshold.item() == 5.0


@pytest.mark.parametrize('value', [0, -2.0, math.nan, math.inf])
def test_bad_initial_thresholds(value):
    with pytest.raises(ValueError, match='init_threshold must be finite and above 0, got'):
        QCFS(init_threshold=value)


@pytest.mark.parametrize(
    ('value', 'error'), [(0, ValueError), (-4, ValueError), (4.0, TypeError), (True, TypeError)]
)
def test_bad_levels(value, error):
    with pytest.raises(error, match='levels must be'):
        QCFS(levels=value)
