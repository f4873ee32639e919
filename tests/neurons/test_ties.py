"""What happens exactly at a bound, worked by hand: libraries changed their minds about it.

Every value here lies on a threshold, an end of a window, half way between two integers, or at
infinity. Fused kernels and plain torch give the same on every version of torch.
"""

import itertools
import math

import pytest
import torch

from mmspike.neurons import IF, ILIF, LIF, PLIF, QCFS, SFA, SpikingQCFS
from mmspike.neurons.kernels import cpu
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.neurons.surrogate import DERIVATIVES, get_surrogate, spike

INF = math.inf
BACKENDS = [
    'reference',
    pytest.param('cpu', marks=pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)),
]


@pytest.fixture(params=BACKENDS)
def backend(request):
    with neuron_backend(request.param):
        yield request.param


def run(neuron, values, weights=None):
    """Output and gradient of a neuron without time, as lists."""
    x = torch.tensor(values, requires_grad=True)
    out = neuron(x)
    weights = torch.ones(len(values)) if weights is None else torch.tensor(weights)
    (out * weights).sum().backward()
    return out.tolist(), x.grad.tolist()


EDGES = [-0.5, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.5]


@pytest.mark.parametrize('kind', [SFA, ILIF])
@pytest.mark.parametrize(
    ('rounding', 'fired'),
    [('half_even', [0, 0, 0, 2, 2, 4, 4, 4]), ('half_up', [0, 0, 1, 2, 3, 4, 4, 4])],
)
@pytest.mark.parametrize(
    ('window', 'passes'),
    [('inclusive', [0, 1, 1, 1, 1, 1, 1, 0]), ('strict', [0, 0, 1, 1, 1, 1, 0, 0])],
)
def test_integer_neurons(kind, rounding, fired, window, passes, backend):
    neuron = kind(D=4, norm=2.0, rounding=rounding, grad_window=window)
    out, grad = run(neuron, EDGES)
    assert out == [count / 2 for count in fired]
    assert grad == [flag / 2 for flag in passes]


def test_qcfs(backend):
    """Steps of 0.5 up to 2: the window is open from -0.25 on, and up to 2.25, where 2.5 begins."""
    neuron = QCFS(levels=4, init_threshold=2.0)
    x = [-0.3, -0.25, 0.0, 0.25, 1.75, 1.9, 2.0, 2.2, 2.25, 3.0]
    out, grad = run(neuron, x)
    assert out == [0, 0, 0, 0.5, 2, 2, 2, 2, 2, 2]
    assert grad == [0, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    # Inside, the level less x / threshold; above, 1.
    slopes = [0, 0.125, 0, 0.125, 0.125, 0.05, 0, -0.1, 1, 1]
    assert neuron.threshold.grad.item() == pytest.approx(sum(slopes), rel=1e-5)


# At u = 0; at the edge of the bump, where it has one, and just within.
BUMPS = {
    'sigmoid': ([0.0], [1.0]),
    'atan': ([0.0], [1.0]),
    'rectangular': ([0.0, 0.5, -0.5, 0.4375, -0.4375], [1.0, 0.0, 0.0, 1.0, 1.0]),
    'triangular': ([0.0, 1.0, -1.0, 0.75, -0.75], [1.0, 0.0, 0.0, 0.25, 0.25]),
}


@pytest.mark.parametrize('name', BUMPS)
def test_surrogates(name, backend):
    distances, slopes = BUMPS[name]
    neuron = IF(surrogate=name)
    out, grad = run(neuron, [1.0 + u for u in distances])
    assert out == [float(u >= 0) for u in distances]
    assert grad == pytest.approx(slopes, rel=1e-6)


def test_these_tests_cover_every_surrogate():
    assert set(BUMPS) == set(DERIVATIVES)


def test_the_slope_of_the_triangle_at_its_corners():
    u = torch.tensor([-1.0, 0.0, 1.0, 0.5, -0.5], requires_grad=True)
    fired = spike(u, get_surrogate('triangular'))
    (slope,) = torch.autograd.grad(fired.sum(), u, create_graph=True)
    assert torch.autograd.grad(slope.sum(), u)[0].tolist() == [0, 0, 0, -1, 1]


@pytest.mark.parametrize(
    ('neuron', 'at_threshold', 'charge'),
    [
        (IF(), 1.0, 1.0),
        (IF(v_reset=None), 1.0, 1.0),
        (LIF(tau=2.0), 2.0, 0.5),
        (LIF(tau=2.0, decay_input=False), 1.0, 1.0),
        (PLIF(init_tau=2.0), 2.0, 0.5),
        (SpikingQCFS(init_threshold=2.0), 1.0, 0.5),
    ],
    ids=repr,
)
def test_a_membrane_on_its_threshold_fires(neuron, at_threshold, charge, backend):
    worth = neuron.threshold.item() if isinstance(neuron, SpikingQCFS) else 1.0
    below = math.nextafter(at_threshold, 0) - 1e-6
    out, grad = run(neuron, [at_threshold, below])
    assert out == [worth, 0]
    assert grad == pytest.approx([worth * charge] * 2, rel=1e-4)


@pytest.mark.parametrize(
    ('neuron', 'expected'),
    [
        (IF(timesteps=3), [1, 1, 0]),
        (IF(timesteps=3, v_reset=-0.5), [1, 1, 0]),
        (IF(timesteps=3, detach_reset=False), [1, 1, 0]),
        (IF(timesteps=3, v_reset=None), [1, 1, 1]),
        (LIF(timesteps=3), [1, 1, 0]),
        (PLIF(timesteps=3, detach_reset=False), [1, 1, 0]),
        (ILIF(timesteps=3), [4, 4, 4]),
        (SFA(timesteps=3), [1, 0.5, 0]),
        (QCFS(timesteps=3), [2, 2, 0]),
        (SpikingQCFS(timesteps=3), [2, 2, 2]),
    ],
    ids=repr,
)
def test_an_infinite_input_is_gone_after_a_hard_reset(neuron, expected, backend):
    x = torch.tensor([[INF], [2.5], [-0.5]]) if not isinstance(neuron, SFA) else None
    x = torch.tensor([[INF], [2.0], [-0.5]]) if x is None else x
    assert neuron(x).flatten().tolist() == expected


@pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)
@pytest.mark.parametrize(
    'neuron',
    [
        *(kind(timesteps=3) for kind in (IF, LIF, PLIF, SFA, ILIF, QCFS, SpikingQCFS)),
        *(kind(timesteps=3, detach_reset=False) for kind in (IF, LIF, PLIF, ILIF)),
        *(kind(timesteps=3, v_reset=None) for kind in (IF, LIF, PLIF)),
        LIF(timesteps=3, tau=3.0, decay_input=False),
        PLIF(timesteps=3, v_reset=0.25, decay_input=False),
    ],
    ids=repr,
)
def test_kernels_agree_with_plain_torch_at_infinity(neuron):
    """All sequences of three out of infinite, large and ordinary numbers."""
    values = (INF, -INF, 3e38, -3e38, 0.0, 1.0, 2.5, math.nan)
    x = torch.tensor(list(itertools.product(values, repeat=3))).T.contiguous()
    results = []
    for name in ('cpu', 'reference'):
        with neuron_backend(name), torch.no_grad():
            results.append(neuron(x))
    torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)
