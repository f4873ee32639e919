import math

import pytest
import torch

from mmspike.neurons import ILIF, SFA


def trajectory(neuron, currents):
    """Outputs and membrane potentials of one neuron, step by step."""
    neuron.stateful = True
    outputs, voltages = [], []
    for current in currents:
        outputs.append(neuron(torch.tensor([current])).item())
        voltages.append(neuron.v.item())
    return outputs, voltages


# All numbers are sums of powers of two, exact in float32.
@pytest.mark.parametrize(
    ('options', 'currents', 'outputs', 'voltages'),
    [
        # 1.5 -> 2; -0.125 + 1 -> 1; -0.03125 - 3 -> 0; -0.7578125 + 6 -> 4, the largest
        (
            dict(),
            [1.5, 1.0, -3.0, 6.0],
            [2, 1, 0, 4],
            [-0.5, -0.125, -3.03125, 1.2421875],
        ),
        (dict(norm=None), [1.5, 1.0, -3.0], [0.5, 0.25, 0], [-0.5, -0.125, -3.03125]),
        (dict(norm=8), [1.5, 1.0, -3.0], [0.25, 0.125, 0], [-0.5, -0.125, -3.03125]),
        (dict(D=1), [1.75, 0.5, 2.0], [1, 1, 1], [0.75, -0.3125, 0.921875]),
        (dict(decay=0.0), [1.25, 1.25, -1.0], [1, 1, 0], [0.25, 0.25, -1.0]),
        (dict(decay=1.0), [0.25, 0.5, 0.5, 0.5], [0, 1, 0, 1], [0.25, -0.25, 0.25, -0.25]),
    ],
)
def test_trajectories_worked_by_hand(options, currents, outputs, voltages):
    assert trajectory(ILIF(**options), currents) == (outputs, voltages)
    steps = len(currents)
    assert ILIF(timesteps=steps, **options)(torch.tensor(currents)).tolist() == outputs


@pytest.mark.parametrize(
    ('rounding', 'outputs', 'voltages'),
    [
        ('half_even', [2, 2, 0], [0.5, 0.5, 0.125]),
        ('half_up', [3, 2, 0], [-0.5, 0.25, 0.0625]),
    ],
)
def test_exact_halves(rounding, outputs, voltages):
    # The second current puts the membrane on 2.5 only if the first 2.5 was rounded to even.
    assert trajectory(ILIF(rounding=rounding), [2.5, 2.375, 0.0]) == (outputs, voltages)


def test_the_surplus_above_d_is_kept_in_the_membrane():
    assert trajectory(ILIF(D=4, decay=1.0), [9.0, 0.0, 0.0]) == ([4, 4, 1], [5, 1, 0])


def test_a_single_step_is_the_stateless_integer_neuron():
    x = 4 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ILIF(norm=None)(x), SFA()(x))


def test_with_no_decay_left_only_the_surplus_is_forgotten():
    x = 4 * torch.randn(14, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ILIF(decay=0, timesteps=7)(x), SFA(norm=1)(x))


# The loss is out[0] + 2 * out[1], decay 1/4.
@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(detach_reset=True), [1.5, 2.0]),
        (dict(detach_reset=False), [1.0, 2.0]),
        (dict(detach_reset=True, norm=None), [0.375, 0.5]),
        (dict(detach_reset=False, norm=None), [0.25, 0.5]),
    ],
)
def test_gradients_worked_by_hand(options, expected):
    x = torch.tensor([1.5, 1.0], requires_grad=True)
    ILIF(timesteps=2, **options)(x).backward(torch.tensor([1.0, 2.0]))
    assert x.grad.tolist() == expected


def test_the_reset_is_detached_by_default():
    x = torch.tensor([1.5, 1.0], requires_grad=True)
    ILIF(timesteps=2)(x)[1].backward()
    assert x.grad.tolist() == [0.25, 1.0]


# Both steps charge the membrane to exactly 0 or D, and both of these leave 0 behind.
@pytest.mark.parametrize(('grad_window', 'slope'), [('inclusive', 1.0), ('strict', 0.0)])
@pytest.mark.parametrize(('first', 'second'), [(0.0, 0.0), (4.0, 4.0), (0.0, 4.0), (4.0, 0.0)])
def test_the_ends_of_the_gradient_window(grad_window, slope, first, second):
    x = torch.tensor([first, second], requires_grad=True)
    neuron = ILIF(timesteps=2, grad_window=grad_window, detach_reset=True)
    neuron(x).backward(torch.tensor([1.0, 1.0]))
    assert x.grad.tolist() == [1.25 * slope, slope]


@pytest.mark.parametrize('membrane', [-0.25, 4.25])
def test_outside_the_window_only_the_leak_passes_gradient(membrane):
    x = torch.tensor([membrane, 2.0], requires_grad=True)
    ILIF(timesteps=2, detach_reset=False)(x).backward(torch.tensor([1.0, 1.0]))
    assert x.grad.tolist() == [0.25, 1.0]


def test_one_spike_is_worth_one_unless_normalised():
    assert ILIF(D=4).spike_value == 1
    assert ILIF(D=4, norm=None).spike_value == 0.25


@pytest.mark.parametrize('decay', [-0.1, 1.1, math.nan, math.inf])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match=f'decay must be .* at most 1, got {decay!r}'):
        ILIF(decay=decay)
