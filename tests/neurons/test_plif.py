import math

import pytest
import torch
from torch import nn

from mmspike.neurons import LIF, PLIF
from support.weights_alone import weights_alone


def noise(*shape):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(('init_tau', 'w'), [(2.0, 0.0), (1 + math.e, -1.0), (1 + 1 / math.e, 1.0)])
def test_initial_weight(init_tau, w):
    neuron = PLIF(init_tau=init_tau)
    assert neuron.w.shape == (1,)
    assert neuron.w.item() == pytest.approx(w, abs=1e-6)
    assert neuron.tau == pytest.approx(init_tau, rel=1e-6)


@pytest.mark.parametrize('tau', [2.0, 1.5, 8.0])
@pytest.mark.parametrize('v_reset', [None, 0.0, 0.25])
@pytest.mark.parametrize('decay_input', [True, False])
def test_starts_as_a_lif_neuron(tau, v_reset, decay_input):
    options = dict(v_reset=v_reset, decay_input=decay_input, timesteps=7, stateful=True)
    learned, fixed = PLIF(init_tau=tau, **options), LIF(tau=tau, **options)
    inputs = [noise(14, 5).requires_grad_() for _ in range(2)]
    spikes = [neuron(x) for neuron, x in zip((learned, fixed), inputs, strict=True)]
    for out in spikes:
        out.sum().backward()
    assert torch.equal(*spikes)
    # w is float32, whatever the input
    torch.testing.assert_close(learned.v, fixed.v, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-5, atol=1e-6)


# rectangular with alpha 1 has slope 1 within half a unit of the threshold; w = 0, where the decay
# is 1/2 and its derivative 1/4.
def test_gradient_of_the_weight_worked_by_hand():
    neuron = PLIF(surrogate='rectangular')
    neuron(torch.tensor([2.5])).backward()  # v = 2.5 * decay
    assert neuron.w.grad.item() == 2.5 / 4


def test_gradient_of_the_weight_without_input_decay_worked_by_hand():
    neuron = PLIF(surrogate='rectangular', decay_input=False, timesteps=2)
    out = neuron(torch.tensor([0.75, 0.5]))  # v = 0.75, then 0.75 - 0.75 * decay + 0.5
    out[1].backward()
    assert out.tolist() == [0, 0]
    assert neuron.w.grad.item() == -0.75 / 4


def test_all_elements_have_one_weight_in_common():
    together = PLIF(surrogate='rectangular')
    together(torch.tensor([[2.5, 1.5], [1.75, 2.0]])).sum().backward()
    assert together.w.grad.item() == (2.5 + 1.5 + 1.75 + 2.0) / 4


def test_training_moves_the_time_constant():
    neuron = PLIF(init_tau=2.0)
    optimizer = torch.optim.SGD(neuron.parameters(), lr=1.0)
    (-neuron(torch.tensor([1.5]))).backward()  # more spikes are wanted: charge faster
    optimizer.step()
    assert neuron.tau < 2


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_a_low_precision_model_still_learns(dtype):
    neuron = PLIF(timesteps=2).to(dtype)
    neuron(torch.full((2, 3), 1.5, dtype=dtype)).sum().backward()
    assert neuron.w.grad.dtype == dtype
    assert neuron.w.grad > 0


def test_a_learned_time_constant_travels_in_the_checkpoint(recwarn):
    saved, model = nn.Sequential(PLIF(init_tau=5.0)), nn.Sequential(PLIF())
    assert list(weights_alone(saved.state_dict())) == ['0.w']
    model.load_state_dict(saved.state_dict())
    assert model[0].tau == pytest.approx(5.0, rel=1e-6)
    assert not recwarn


@pytest.mark.parametrize(
    'init_tau',
    [
        1,
        1.0,
        0.5,
        -2.0,
        math.nan,
        math.inf,
    ],
)
def test_bad_initial_time_constants(init_tau):
    with pytest.raises(ValueError, match=f'init_tau must be finite and above 1, got {init_tau!r}'):
        PLIF(init_tau=init_tau)
