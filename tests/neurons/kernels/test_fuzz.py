"""Whatever a neuron is given, its kernels stay within their memory, and say what plain torch says.

`make sanitize` runs 500 cases of each neuron where memory is watched; see tests/sanitize.sh.
"""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmspike.neurons import IF, ILIF, LIF, PLIF, QCFS, SFA, SpikingQCFS
from mmspike.neurons.kernels import cpu
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.neurons.surrogate import DERIVATIVES
from mmspike.recorders.spike_sums import SpikeSums
from support import neurons

pytestmark = pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)

IN_PROFILE = settings.default.max_examples
FUZZ = settings(
    max_examples=IN_PROFILE if IN_PROFILE > 100 else 30,  # 100 is hypothesis' own
    derandomize=IN_PROFILE <= 100,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SIZES = st.sampled_from([0, 1, 2, 3, 5, 16, 17, 63, 65, 260])
BOOLS = st.booleans()
NONFINITE = [float('nan'), float('inf'), float('-inf'), 3e38, -3e38]


def options(**strategies):
    return st.fixed_dictionaries(strategies)


BINARY = dict(
    threshold=st.sampled_from([0.5, 1.0, 1.5]),
    v_reset=st.sampled_from([None, 0.0, -0.5]),
    detach_reset=BOOLS,
    surrogate=st.sampled_from(sorted(DERIVATIVES)),
    stateful=BOOLS,
)
INTEGER = dict(
    D=st.sampled_from([1, 4, 8]),
    norm=st.sampled_from([None, 1.0, 3.0]),
    rounding=st.sampled_from(['half_even', 'half_up']),
    grad_window=st.sampled_from(['inclusive', 'strict']),
)
LEAK = dict(decay_input=BOOLS)
OPTIONS = {
    IF: options(**BINARY),
    LIF: options(tau=st.sampled_from([1.0, 2.0, 41.0]), **LEAK, **BINARY),
    PLIF: options(init_tau=st.sampled_from([1.5, 2.0]), **LEAK, **BINARY),
    SpikingQCFS: options(init_threshold=st.sampled_from([0.5, 2.0]), stateful=BOOLS),
    SFA: options(**INTEGER),
    ILIF: options(decay=st.sampled_from([0.0, 0.25, 1.0]), stateful=BOOLS, **INTEGER),
    QCFS: options(levels=st.sampled_from([1, 4, 16]), init_threshold=st.sampled_from([0.5, 2.0])),
}
NEURONS = {kind: OPTIONS.get(kind, options()) for kind in neurons.NEURONS}


@st.composite
def inputs(draw: st.DrawFn, steps: int) -> torch.Tensor:
    """``(T*B, C, H, W)`` in some layout and dtype, half of them with values that are not finite."""
    shape = [steps * draw(st.integers(0, 3)), draw(SIZES), draw(SIZES), draw(st.integers(1, 3))]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    x = torch.randn(shape, generator=generator) * draw(st.sampled_from([0.5, 2, 50]))
    if draw(BOOLS) and x.numel():
        which = torch.rand(shape, generator=generator) < 0.1
        x[which] = draw(st.sampled_from(NONFINITE))
    x = x.to(draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16])))
    layout = draw(
        st.sampled_from(['plain', 'plain', 'last', 'turned', 'sliced', 'wide', 'negated'])
    )
    if layout == 'last':
        return x.contiguous(memory_format=torch.channels_last)
    if layout == 'turned':
        return x.permute(0, 3, 1, 2)
    if layout == 'sliced':
        return x[:, ::2, 1:]
    if layout == 'wide':
        return x[..., :1].expand(-1, -1, -1, 4)
    return torch._neg_view(x) if layout == 'negated' else x


@pytest.mark.parametrize('kind', NEURONS, ids=lambda kind: kind.__name__)
def test_neurons(kind):
    @FUZZ
    @given(
        data=st.data(), given=NEURONS[kind], steps=st.sampled_from([1, 2, 3, 7]), gradients=BOOLS
    )
    def check(data, given, steps, gradients):
        x = data.draw(inputs(steps))
        results = []
        for backend in ('cpu', 'reference'):
            neuron = kind(timesteps=steps, **given)
            leaf = x.detach().requires_grad_(gradients)
            with neuron_backend(backend):
                out = neuron(leaf)
                out = neuron(leaf) if given.get('stateful') else out
                if gradients:
                    out.float().sum().backward()
                    assert leaf.grad.shape == x.shape
            results.append(out.detach())
        ours, right = results
        assert ours.shape == right.shape == x.shape
        assert ours.dtype == right.dtype == x.dtype
        if x.isfinite().all():
            assert torch.equal(ours, right)

    check()


@FUZZ
@given(x=inputs(1), spike_value=st.sampled_from([1.0, 0.25, 1 / 3]))
def test_counts(x, spike_value):
    spikes = (x.nan_to_num(0, 0, 0).clamp(0, 8) / spike_value).round() * spike_value
    with neuron_backend('reference'):
        right = SpikeSums(spikes, spike_value)
    with neuron_backend('cpu'):
        ours = SpikeSums(spikes, spike_value)
        SpikeSums(x, spike_value)
    assert torch.equal(ours.maps, right.maps)
    assert (ours.total, ours.active) == (right.total, right.active)
