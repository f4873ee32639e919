"""The functional neurons against scalar simulations whose backward pass is written by hand."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from mmspike.neurons import ILIF, SFA, functional
from mmspike.neurons.kernels import cpu
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.neurons.surrogate import get_surrogate

STEPS = st.sampled_from([1, 2, 7])
SEEDS = st.integers(0, 2**31 - 1)
RESETS = st.sampled_from([None, 0.0, -0.5, 0.25])
# Above every reset potential: a neuron at rest must not sit on its threshold, where the order of
# float operations decides.
THRESHOLDS = st.floats(0.3, 2)
BOOLS = st.booleans()


def sigmoid_bump(u: float, alpha: float) -> float:
    return alpha / (2 * math.cosh(alpha * u / 2)) ** 2


def triangular_bump(u: float, alpha: float) -> float:
    return alpha * max(1 - alpha * abs(u), 0)


BUMPS = {'sigmoid': sigmoid_bump, 'triangular': triangular_bump}
SURROGATES = st.fixed_dictionaries(
    {'type': st.sampled_from(sorted(BUMPS)), 'alpha': st.floats(0.5, 4)}
)


def simulate_binary(
    x, v, out_weights, v_weight, *, decay, decay_input, threshold, v_reset, detach_reset, surrogate
):
    """One neuron, forward and backward; ``decay=0, decay_input=False`` is an IF neuron.

    The loss is ``sum(out_weights * spikes) + v_weight * v_end``. Returns spikes, v_end and the
    gradients of x, of the initial v and of decay.
    """
    bump = BUMPS[surrogate['type']]
    rest = 0.0 if v_reset is None else v_reset
    gain = decay if decay_input else 1.0
    tape, spikes = [], []
    for current in x:
        before = v
        h = (1 - decay) * v + decay * rest + gain * current
        fires = h >= threshold
        v = h
        if fires:
            v = h - threshold if v_reset is None else v_reset
        spikes.append(float(fires))
        tape.append((current, before, h, fires))

    grad_v, grad_decay, grad_x = v_weight, 0.0, []
    for weight, (current, before, h, fires) in zip(
        reversed(out_weights), reversed(tape), strict=True
    ):
        slope = bump(h - threshold, surrogate['alpha'])
        through = 1.0 if v_reset is None or not fires else 0.0
        if not detach_reset:
            through += slope * ((v_reset - h) if v_reset is not None else -threshold)
        grad_h = grad_v * through + weight * slope
        grad_x.insert(0, grad_h * gain)
        grad_decay += grad_h * (rest - before + (current if decay_input else 0.0))
        grad_v = grad_h * (1 - decay)
    return spikes, v, grad_x, grad_v, grad_decay


@given(STEPS, SEEDS, st.floats(0.1, 8), SURROGATES)
@settings(deadline=None, max_examples=30)
def test_spiking_clip_floor_shift_follows_the_scalar_simulation(T, seed, threshold, surrogate):
    x, v, weights, v_weight = random_case(seed, T, 3)
    top = torch.tensor(threshold, dtype=torch.float64, requires_grad=True)
    out, v_end = functional.spiking_clip_floor_shift(
        x, v, threshold=top, surrogate=get_surrogate(surrogate)
    )
    ((out * weights).sum() + (v_end * v_weight).sum()).backward()
    grad_top = 0.0
    for i in range(3):
        charges, weight = [value / threshold for value in column(x, i)], column(weights, i)
        spikes, end, grad_charges, grad_v, _ = simulate_binary(
            charges,
            v[i].item(),
            [threshold * w for w in weight],
            v_weight[i].item(),
            decay=0.0,
            decay_input=False,
            threshold=1.0,
            v_reset=None,
            detach_reset=True,
            surrogate=surrogate,
        )
        assert column(out, i) == approx([threshold * spike for spike in spikes])
        assert v_end[i].item() == approx(end)
        assert column(x.grad, i) == approx([grad / threshold for grad in grad_charges])
        assert v.grad[i].item() == approx(grad_v)
        # A higher threshold makes spikes larger, and what is charged smaller.
        grad_top += sum(w * spike for w, spike in zip(weight, spikes, strict=True))
        grad_top -= sum(g * c for g, c in zip(grad_charges, charges, strict=True)) / threshold
    assert top.grad.item() == approx(grad_top)


def round_half(value: float, rounding: str) -> int:
    return round(value) if rounding == 'half_even' else math.floor(value + 0.5)


def passes(value: float, D: int, grad_window: str) -> bool:
    return 0 <= value <= D if grad_window == 'inclusive' else 0 < value < D


def simulate_integer(
    x, v, out_weights, v_weight, *, D, norm, decay, detach_reset, rounding, grad_window
):
    """One I-LIF neuron; see :func:`simulate_binary`. Returns no gradient of decay."""
    charged, outputs = [], []
    for current in x:
        h = decay * v + current
        count = round_half(min(max(h, 0.0), float(D)), rounding)
        v = h - count
        charged.append(h)
        outputs.append(count / norm)

    grad_v, grad_x = v_weight, []
    for weight, h in zip(reversed(out_weights), reversed(charged), strict=True):
        slope = 1.0 if passes(h, D, grad_window) else 0.0
        through = 1.0 if detach_reset else 1.0 - slope
        grad_h = grad_v * through + weight * slope / norm
        grad_x.insert(0, grad_h)
        grad_v = grad_h * decay
    return outputs, v, grad_x, grad_v


def random_case(seed: int, T: int, neurons: int, scale: float = 1.0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = (scale * (normal(T, neurons) + 0.5)).requires_grad_()
    v = (0.5 * normal(neurons)).requires_grad_()
    return x, v, normal(T, neurons), normal(neurons)


def column(tensor: torch.Tensor, i: int) -> list[float]:
    return tensor.detach()[:, i].tolist()


def approx(expected):
    return pytest.approx(expected, rel=1e-9, abs=1e-11)


@given(STEPS, SEEDS, THRESHOLDS, RESETS, BOOLS, SURROGATES)
@settings(deadline=None, max_examples=30)
def test_integrate_and_fire_follows_the_scalar_simulation(
    T, seed, threshold, v_reset, detach_reset, surrogate
):
    options = dict(threshold=threshold, v_reset=v_reset, detach_reset=detach_reset)
    x, v, weights, v_weight = random_case(seed, T, 3)
    out, v_end = functional.integrate_and_fire(x, v, surrogate=get_surrogate(surrogate), **options)
    ((out * weights).sum() + (v_end * v_weight).sum()).backward()
    for i in range(3):
        spikes, end, grad_x, grad_v, _ = simulate_binary(
            column(x, i),
            v[i].item(),
            column(weights, i),
            v_weight[i].item(),
            decay=0.0,
            decay_input=False,
            surrogate=surrogate,
            **options,
        )
        assert column(out, i) == spikes
        assert v_end[i].item() == approx(end)
        assert column(x.grad, i) == approx(grad_x)
        assert v.grad[i].item() == approx(grad_v)


@given(STEPS, SEEDS, st.floats(1, 50), BOOLS, BOOLS, THRESHOLDS, RESETS, BOOLS, SURROGATES)
@settings(deadline=None, max_examples=60)
def test_leaky_integrate_and_fire_follows_the_scalar_simulation(
    T, seed, tau, learned, decay_input, threshold, v_reset, detach_reset, surrogate
):
    options = dict(
        decay_input=decay_input, threshold=threshold, v_reset=v_reset, detach_reset=detach_reset
    )
    x, v, weights, v_weight = random_case(seed, T, 3, scale=2)
    # LIF takes tau itself, PLIF the w whose sigmoid is 1 / tau.
    w = torch.tensor(-math.log(max(tau - 1, 1e-6)), dtype=torch.float64, requires_grad=True)
    if learned:
        decay = w.sigmoid().item()
        run, constant = functional.parametric_leaky_integrate_and_fire, dict(w=w)
    else:
        decay = 1 / tau
        run, constant = functional.leaky_integrate_and_fire, dict(tau=tau)
    out, v_end = run(x, v, surrogate=get_surrogate(surrogate), **constant, **options)
    ((out * weights).sum() + (v_end * v_weight).sum()).backward()
    total_grad_decay = 0.0
    for i in range(3):
        spikes, end, grad_x, grad_v, grad_decay = simulate_binary(
            column(x, i),
            v[i].item(),
            column(weights, i),
            v_weight[i].item(),
            decay=decay,
            surrogate=surrogate,
            **options,
        )
        total_grad_decay += grad_decay
        assert column(out, i) == spikes
        assert v_end[i].item() == approx(end)
        assert column(x.grad, i) == approx(grad_x)
        assert v.grad[i].item() == approx(grad_v)
    if learned:
        assert w.grad.item() == approx(total_grad_decay * decay * (1 - decay))


@given(
    STEPS,
    SEEDS,
    st.integers(1, 8),
    st.floats(0.5, 8),
    st.floats(0, 1),
    BOOLS,
    st.sampled_from(functional.ROUNDINGS),
    st.sampled_from(functional.GRAD_WINDOWS),
)
@settings(deadline=None, max_examples=60)
def test_integer_leaky_integrate_and_fire_follows_the_scalar_simulation(
    T, seed, D, norm, decay, detach_reset, rounding, grad_window
):
    options = dict(
        D=D,
        norm=norm,
        decay=decay,
        detach_reset=detach_reset,
        rounding=rounding,
        grad_window=grad_window,
    )
    x, v, weights, v_weight = random_case(seed, T, 3, scale=4)
    out, v_end = functional.integer_leaky_integrate_and_fire(x, v, **options)
    ((out * weights).sum() + (v_end * v_weight).sum()).backward()
    for i in range(3):
        outputs, end, grad_x, grad_v = simulate_integer(
            column(x, i), v[i].item(), column(weights, i), v_weight[i].item(), **options
        )
        assert column(out, i) == approx(outputs)
        assert v_end[i].item() == approx(end)
        assert column(x.grad, i) == approx(grad_x)
        assert v.grad[i].item() == approx(grad_v)


# Many values are multiples of a half, where the two roundings and the two windows part.
VALUES = st.one_of(
    st.floats(-2, 10, allow_subnormal=False), st.integers(-3, 20).map(lambda n: n / 2)
)


@given(
    st.lists(VALUES, min_size=1, max_size=8),
    st.integers(1, 8),
    st.floats(0.5, 8),
    st.sampled_from(functional.ROUNDINGS),
    st.sampled_from(functional.GRAD_WINDOWS),
)
@settings(deadline=None, max_examples=60)
def test_integer_fire_follows_scalar_rounding(values, D, norm, rounding, grad_window):
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    out = functional.integer_fire(x, D=D, norm=norm, rounding=rounding, grad_window=grad_window)
    weights = torch.arange(1.0, len(values) + 1, dtype=torch.float64)
    (out * weights).sum().backward()
    expected = [round_half(min(max(value, 0.0), float(D)), rounding) / norm for value in values]
    slopes = [(i + 1) / norm * passes(value, D, grad_window) for i, value in enumerate(values)]
    assert out.tolist() == approx(expected)
    assert x.grad.tolist() == approx(slopes)


SURROGATE = get_surrogate('sigmoid')
BINARY = dict(threshold=1.0, detach_reset=True, surrogate=SURROGATE)
INTEGER = dict(D=4, norm=4.0, rounding='half_even', grad_window='inclusive')


def run_if(x, v=None):
    return functional.integrate_and_fire(x, v, v_reset=0.25, **BINARY)


def run_lif(x, v=None):
    return functional.leaky_integrate_and_fire(
        x, v, tau=2.0, decay_input=True, v_reset=0.25, **BINARY
    )


def run_plif(x, v=None):
    return functional.parametric_leaky_integrate_and_fire(
        x, v, w=torch.tensor(0.0), decay_input=True, v_reset=0.25, **BINARY
    )


def run_ilif(x, v=None):
    return functional.integer_leaky_integrate_and_fire(
        x, v, decay=0.25, detach_reset=True, **INTEGER
    )


def run_spiking_qcfs(x, v=None):
    return functional.spiking_clip_floor_shift(
        x, v, threshold=torch.tensor(2.0), surrogate=SURROGATE
    )


@pytest.mark.parametrize(
    ('run', 'rest'), [(run_if, 0.25), (run_lif, 0.25), (run_ilif, 0.0), (run_spiking_qcfs, 0.5)]
)
@pytest.mark.parametrize('T', [1, 2, 7])
def test_without_a_membrane_the_neuron_starts_at_rest(run, rest, T):
    x = torch.randn(T, 2, 3, generator=torch.Generator().manual_seed(T))
    out, v = run(x)
    expected_out, expected_v = run(x, torch.full((2, 3), rest))
    assert torch.equal(out, expected_out)
    assert torch.equal(v, expected_v)


@pytest.mark.parametrize('run', [run_if, run_lif, run_ilif, run_spiking_qcfs])
def test_the_given_membrane_is_not_changed(run):
    v = torch.full((3,), 0.5)
    run(torch.ones(2, 3), v)
    assert v.tolist() == [0.5] * 3


@pytest.mark.parametrize('run', [run_if, run_lif, run_ilif])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_inputs_are_computed_in_float32(run, dtype):
    x = 2 * torch.randn(7, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    out, v = run(x)
    expected_out, expected_v = run(x.float())
    assert out.dtype == dtype
    assert v.dtype == torch.float32
    assert torch.equal(out, expected_out.to(dtype))
    assert torch.equal(v, expected_v)


def test_low_precision_does_not_lose_small_currents():
    # In bfloat16 1.0 + 2**-9 is 1.0: a membrane kept there would never reach the threshold.
    x = torch.full((512, 1), 2.0**-9, dtype=torch.bfloat16)
    x[0] = 1.0
    out, _ = functional.integrate_and_fire(
        x, v_reset=None, threshold=1.5, detach_reset=True, surrogate=SURROGATE
    )
    assert out.sum() == 1
    assert out[256] == 1


class Masks(TorchDispatchMode):
    """Bytes of the masks, a bit per value, that integer neurons keep for a backward pass."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if str(func).startswith(('mmspike.sfa.', 'mmspike.ilif.')):
            self.kept.append(out[-1].numel())
        return out


@pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)
@pytest.mark.parametrize('kind', [SFA, ILIF])
@pytest.mark.parametrize(
    ('enabled', 'learned', 'kept'), [(True, True, 2), (True, False, 0), (False, True, 0)]
)
def test_nothing_is_kept_for_a_backward_pass_that_cannot_come(kind, enabled, learned, kept):
    x = torch.randn(4, 3, requires_grad=learned)
    with torch.set_grad_enabled(enabled), neuron_backend('cpu'), Masks() as masks:
        kind(timesteps=2)(x)
    assert masks.kept == [kept]


def test_qcfs_in_double_precision_is_no_matter_of_kernels():
    """They take none."""
    x = torch.tensor([0.1, 0.24, 0.26, 3.0], dtype=torch.float64)
    threshold = torch.tensor(1.0, dtype=torch.float64)
    out = functional.quantised_clip_floor_shift(x, threshold=threshold, levels=2)
    assert out.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert out.dtype == torch.float64


@pytest.mark.parametrize('backend', ['auto', 'reference'])
@pytest.mark.parametrize('run', [run_if, run_lif, run_plif, run_ilif, run_spiking_qcfs])
@pytest.mark.parametrize('shape', [(3,), (), (1,), (4096, 2), (1, 4096)])
def test_a_membrane_of_another_shape_is_refused(run, shape, backend):
    """Plain torch would broadcast some of them, and a kernel read memory that is not theirs."""
    with neuron_backend(backend), pytest.raises(ValueError, match=re.escape(str(shape))) as error:
        run(torch.zeros(2, 4096), torch.zeros(shape))
    assert '(4096,)' in str(error.value)
