"""The fused kernels against the plain torch reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from mmspike.neurons import IF, ILIF, LIF, PLIF, QCFS, SFA, SpikingQCFS, functional, reference
from mmspike.neurons.kernels import cpu, ops
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.neurons.kernels.settings import DIVIDE, MULTIPLY, NO_MEMORY, SCALE, IntegerSettings
from mmspike.neurons.surrogate import DERIVATIVES, get_surrogate
from support import neurons
from support.kernel_calls import watch_kernels

pytestmark = [
    pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD),
    # All neurons share one forward method, which is compiled for so many of them only.
    pytest.mark.usefixtures('compiled_anew'),
]

SHAPES = st.sampled_from([(0,), (1,), (7,), (2, 3, 5), (513,), (1031,), (4, 700)])
DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])
STEPS = st.sampled_from([1, 2, 3, 7, 40])
SEEDS = st.integers(0, 10_000)
BOOLS = st.booleans()
# How far a gradient may be from the float64 one, relative to the largest.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.fixture(autouse=True, scope='module')
def _unwritten_memory_is_nan():
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def draw_inputs(shape, steps, dtype, seed, with_state):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(steps, *shape, generator=generator) * 2).to(dtype)
    # A third of the values lie on a coarse grid: thresholds, halves and window ends are hit.
    grid = (torch.randint(-4, 20, x.shape, generator=generator) / 4).to(dtype)
    x = torch.where(torch.rand(x.shape, generator=generator) < 1 / 3, grid, x)
    v = torch.randn(shape, generator=generator) if with_state else None
    return x, v


STATELESS = ('integer_fire', 'quantised_clip_floor_shift')


def compare(name, x, v, **options):
    """Same spikes and membrane as the reference in float32, gradients of the float64 reference."""
    learned = [option for option in options.values() if isinstance(option, torch.Tensor)]
    tensors = [*([] if v is None else [v]), *learned]
    with neuron_backend('cpu'):
        x_k, *t_k = (t.clone().requires_grad_() for t in (x, *tensors))
        out, v_end = call(getattr(functional, name), x_k, t_k, v, options)
    expected, v_expected = call(getattr(reference, name), x, tensors, v, options)
    assert torch.equal(out, expected)
    assert out.dtype == x.dtype
    if v_end is not None:
        assert v_end.dtype == torch.float32
        assert torch.equal(v_end, v_expected)

    weights = torch.randn(out.shape, dtype=torch.float64).to(x.dtype)
    total = (out.double() * weights.double()).sum()
    v_weights = None
    if v_end is not None:
        v_weights = torch.randn(v_end.shape, dtype=torch.float64).float()
        total = total + (v_end.double() * v_weights.double()).sum()
    total.backward()

    def reference_grads(cast):
        leaves = [cast(t).requires_grad_() for t in (x, *tensors)]
        exact, v_exact = call(getattr(reference, name), leaves[0], leaves[1:], v, options)
        total = (exact.double() * weights.double()).sum()
        if v_end is not None:
            total = total + (v_exact.double() * v_weights.double()).sum()
        total.backward()
        return exact.detach(), [leaf.grad.double() for leaf in leaves]

    exact, wanted = reference_grads(torch.Tensor.double)
    _, plain = reference_grads(torch.Tensor.clone)
    if not torch.equal(exact.to(x.dtype), expected):
        wanted = plain  # rounding decided a spike: float64 took another way
    for ours, right, simple in zip((x_k, *t_k), wanted, plain, strict=True):
        if ours.numel() == 0:
            continue
        error = (ours.grad.double() - right).abs().max().item()
        # Long sums amplify rounding: then the kernel may be as far off as plain torch is. A learned
        # number's gradient sums one term per element, of size about 1, which nearly cancel.
        terms = x.numel() ** 0.5 if ours.numel() == 1 else 1.0
        allowed = TOLERANCE[x.dtype] * max(right.abs().max().item(), terms)
        assert error <= allowed + 2 * (simple - right).abs().max().item()


def call(function, x, tensors, v, options):
    options = dict(options)
    tensors = list(tensors)
    state = tensors.pop(0) if v is not None else None
    for name, option in options.items():
        if isinstance(option, torch.Tensor):
            options[name] = tensors.pop(0)
    if function.__name__ in STATELESS:
        return function(x, **options), None
    return function(x, state, **options)


BINARY = dict(
    shape=SHAPES,
    steps=STEPS,
    dtype=DTYPES,
    seed=SEEDS,
    with_state=BOOLS,
    threshold=st.sampled_from([0.5, 1.0, 1.5]),
    v_reset=st.sampled_from([None, 0.0, -0.5, 0.25]),
    detach_reset=BOOLS,
    surrogate=st.sampled_from(sorted(DERIVATIVES)),
    alpha=st.sampled_from([0.5, 2.0, 4.0]),
)


def firing(threshold, v_reset, detach_reset, surrogate, alpha):
    return dict(
        threshold=threshold,
        v_reset=v_reset,
        detach_reset=detach_reset,
        surrogate=get_surrogate(dict(type=surrogate, alpha=alpha)),
    )


@settings(deadline=None, max_examples=60)
@given(**BINARY)
def test_integrate_and_fire(shape, steps, dtype, seed, with_state, **options):
    x, v = draw_inputs(shape, steps, dtype, seed, with_state)
    compare('integrate_and_fire', x, v, **firing(**options))


@settings(deadline=None, max_examples=80)
@given(tau=st.sampled_from([1.0, 2.0, 3.0, 41.0]), decay_input=BOOLS, **BINARY)
def test_leaky_integrate_and_fire(
    shape, steps, dtype, seed, with_state, tau, decay_input, **options
):
    x, v = draw_inputs(shape, steps, dtype, seed, with_state)
    leak = dict(tau=tau, decay_input=decay_input)
    compare('leaky_integrate_and_fire', x, v, **leak, **firing(**options))


@settings(deadline=None, max_examples=80)
@given(w=st.sampled_from([-2.0, 0.0, 0.3, 3.0]), decay_input=BOOLS, **BINARY)
def test_parametric_leaky_integrate_and_fire(
    shape, steps, dtype, seed, with_state, w, decay_input, **options
):
    x, v = draw_inputs(shape, steps, dtype, seed, with_state)
    leak = dict(w=torch.tensor(w), decay_input=decay_input)
    compare('parametric_leaky_integrate_and_fire', x, v, **leak, **firing(**options))


INTEGER = dict(
    shape=SHAPES,
    steps=STEPS,
    dtype=DTYPES,
    seed=SEEDS,
    D=st.sampled_from([1, 3, 4, 8]),
    norm=st.sampled_from([1.0, 3.0, 4.0]),
    rounding=st.sampled_from(reference.ROUNDINGS),
    grad_window=st.sampled_from(reference.GRAD_WINDOWS),
)


@settings(deadline=None, max_examples=80)
@given(**INTEGER)
def test_integer_fire(shape, steps, dtype, seed, **options):
    x, _ = draw_inputs(shape, steps, dtype, seed, False)
    compare('integer_fire', x, None, **options)


@settings(deadline=None, max_examples=80)
@given(decay=st.sampled_from([0.0, 0.25, 1.0]), detach_reset=BOOLS, with_state=BOOLS, **INTEGER)
def test_integer_leaky_integrate_and_fire(
    shape, steps, dtype, seed, with_state, decay, detach_reset, **options
):
    x, v = draw_inputs(shape, steps, dtype, seed, with_state)
    leak = dict(decay=decay, detach_reset=detach_reset)
    compare('integer_leaky_integrate_and_fire', x, v, **leak, **options)


@settings(deadline=None, max_examples=60)
@given(
    shape=SHAPES,
    steps=STEPS,
    dtype=DTYPES,
    seed=SEEDS,
    threshold=st.sampled_from([0.5, 1.7, 2.0, 4.0]),
    levels=st.sampled_from([1, 3, 4, 16]),
)
def test_quantised_clip_floor_shift(shape, steps, dtype, seed, threshold, levels):
    x, _ = draw_inputs(shape, steps, dtype, seed, False)
    options = dict(threshold=torch.tensor(threshold), levels=levels)
    compare('quantised_clip_floor_shift', x, None, **options)


# Powers of two divide without rounding. Other quotients of half precision lead float64 another way,
# and gradients of plain torch in half precision are too rough to compare with.
EXACT, ROUNDED = [0.5, 2.0, 4.0], [0.7, 1.7, 6.1]
QUOTIENTS = st.one_of(
    st.tuples(st.just(torch.float32), st.sampled_from(EXACT + ROUNDED)),
    st.tuples(st.sampled_from([torch.float16, torch.bfloat16]), st.sampled_from(EXACT)),
)


@settings(deadline=None, max_examples=80)
@given(
    shape=SHAPES,
    steps=STEPS,
    quotient=QUOTIENTS,
    seed=SEEDS,
    with_state=BOOLS,
    surrogate=st.sampled_from(sorted(DERIVATIVES)),
)
def test_spiking_clip_floor_shift(shape, steps, quotient, seed, with_state, surrogate):
    dtype, threshold = quotient
    x, v = draw_inputs(shape, steps, dtype, seed, with_state)
    options = dict(threshold=torch.tensor(threshold), surrogate=get_surrogate(surrogate))
    compare('spiking_clip_floor_shift', x, v, **options)


@settings(deadline=None, max_examples=40)
@given(
    shape=SHAPES,
    steps=STEPS,
    dtype=DTYPES,
    seed=SEEDS,
    with_state=BOOLS,
    threshold=st.floats(2**-10, 2**10, width=32),
    trained=BOOLS,
)
def test_rounded_quotients(shape, steps, dtype, seed, with_state, threshold, trained):
    x, v = draw_inputs(shape, steps, dtype, seed, with_state)
    x = (x * threshold).to(dtype)
    options = dict(threshold=torch.tensor(threshold), surrogate=get_surrogate('sigmoid'))
    with neuron_backend('cpu'):
        ours = functional.spiking_clip_floor_shift(x.requires_grad_(trained), v, **options)
    expected = reference.spiking_clip_floor_shift(x, v, **options)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), -0.0, 3e38])
@pytest.mark.parametrize('rounding', reference.ROUNDINGS)
def test_special_values_of_the_integer_neuron(value, rounding):
    x = torch.tensor([value])
    options = dict(D=4, norm=4.0, rounding=rounding, grad_window='inclusive')
    with neuron_backend('cpu'):
        out = functional.integer_fire(x, **options)
    torch.testing.assert_close(out, reference.integer_fire(x, **options), equal_nan=True)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), -0.0, 3e38])
def test_special_values_of_qcfs(value):
    x, options = torch.tensor([value]), dict(threshold=torch.tensor(2.0), levels=16)
    with neuron_backend('cpu'):
        out = functional.quantised_clip_floor_shift(x, **options)
    expected = reference.quantised_clip_floor_shift(x, **options)
    torch.testing.assert_close(out, expected, equal_nan=True)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), -0.0, 3e38])
@pytest.mark.parametrize('threshold', [2.0, 1e-30, 0.0, -1.0, float('inf'), float('nan')])
def test_special_values_of_spiking_qcfs(value, threshold):
    """A threshold that has diverged in training shows as it does in plain torch."""
    x = torch.tensor([value, 1.0, -1.0]).repeat(2, 1)
    options = dict(threshold=torch.tensor(threshold), surrogate=get_surrogate('sigmoid'))
    with neuron_backend('cpu'):
        ours = functional.spiking_clip_floor_shift(x, **options)
    expected = reference.spiking_clip_floor_shift(x, **options)
    torch.testing.assert_close(ours, expected, rtol=0, atol=0, equal_nan=True)


NEURONS = [
    *(kind() for kind in neurons.NEURONS if kind is not SpikingQCFS),
    LIF(v_reset=None, detach_reset=False),
    LIF(tau=3.0, decay_input=False),
    SpikingQCFS(init_threshold=0.7),
]
IDS = [repr(neuron) for neuron in NEURONS]


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
@pytest.mark.parametrize('layout', ['channels_last', 'transposed', 'strided', 'expanded'])
def test_any_memory_layout(neuron, layout):
    neuron.timesteps = 2
    x = torch.randn(4, 6, 5, 8) * 2
    x = {
        'channels_last': x.to(memory_format=torch.channels_last),
        'transposed': x.transpose(0, 3),
        'strided': x[:, ::2],
        'expanded': x[:1].expand(4, 6, 5, 8),
    }[layout]
    grads = []
    for backend in ('cpu', 'reference'):
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        view = leaf if layout != 'expanded' else leaf[:1].expand(4, 6, 5, 8)
        with neuron_backend(backend):
            out = neuron(view)
            # The gradient of a sum is expanded: strides 0.
            out.sum().backward()
        grads.append((out.detach(), leaf.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    torch.testing.assert_close(grads[0][1], grads[1][1])


def test_channels_last_maps_are_taken_as_they_are():
    x = torch.randn(4, 6, 5, 8).to(memory_format=torch.channels_last)
    with neuron_backend('cpu'):
        out = LIF(timesteps=2)(x)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_threads_do_not_change_the_result(neuron):
    neuron.timesteps = 2
    x = torch.randn(2, 100_003)
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            leaf = x.clone().requires_grad_()
            with neuron_backend('cpu'):
                out = neuron(leaf)
            (out * x).sum().backward()
            results.append((out.detach(), leaf.grad))
    finally:
        torch.set_num_threads(threads)
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0])
        assert torch.equal(grad, results[0][1])


@pytest.mark.parametrize('cls', [LIF, ILIF])
def test_gradient_through_the_membrane_alone(cls):
    """The spikes' gradient is then undefined, not zero."""
    x, grads = torch.randn(4, 7), []
    for backend in ('cpu', 'reference'):
        leaf, neuron = x.clone().requires_grad_(), cls(timesteps=4, stateful=True)
        with neuron_backend(backend):
            neuron(leaf)
            grads.append(torch.autograd.grad(neuron.v.square().sum(), leaf)[0])
    torch.testing.assert_close(*grads)


def test_a_long_simulation():
    x = torch.rand(3000, 20)
    with neuron_backend('cpu'):
        leaf = x.clone().requires_grad_()
        out = LIF(timesteps=3000)(leaf)
        out.sum().backward()
    with neuron_backend('reference'):
        other = x.clone().requires_grad_()
        expected = LIF(timesteps=3000)(other)
        expected.sum().backward()
    assert torch.equal(out, expected)
    torch.testing.assert_close(leaf.grad, other.grad)


def saved_bytes(neuron, x):
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with neuron_backend('cpu'), saved_tensors_hooks(pack, lambda tensor: tensor):
        neuron(x.clone().requires_grad_())
    return total


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_backward_keeps_a_bit_or_the_input(dtype):
    x = torch.randn(4, 1000).to(dtype)
    for neuron in (SFA(timesteps=4), ILIF(timesteps=4)):
        assert saved_bytes(neuron, x) == 4000 // 8
    for neuron in (IF(timesteps=4), LIF(timesteps=4)):
        assert saved_bytes(neuron, x) == x.numel() * x.element_size()
    # And one learned number.
    for neuron in (PLIF(timesteps=4), QCFS(timesteps=4), SpikingQCFS(timesteps=4)):
        assert saved_bytes(neuron, x) <= x.numel() * x.element_size() + 8


def test_nothing_is_kept_without_gradient():
    total = []
    with torch.no_grad(), saved_tensors_hooks(total.append, lambda t: t), neuron_backend('cpu'):
        for neuron in NEURONS:
            neuron.timesteps = 1
            neuron(torch.randn(2, 3, requires_grad=True))
    assert total == []


def binary_arguments(**changes):
    options = dict(
        v=None, learned=None, leak=DIVIDE, threshold=1.0, v_reset=0.0, detach_reset=True,
        surrogate='atan', alpha=2.0, tau=2.0, decay_input=True, keep_state=True,
    )  # fmt: skip
    return tuple(dict(options, **changes).values())


@pytest.mark.parametrize('keep_state', [True, False])
def test_operators_keep_the_contract_of_torch_library(keep_state):
    x = torch.randn(3, 5, requires_grad=True)
    v = torch.randn(5, requires_grad=True)
    w = torch.tensor(0.4, requires_grad=True)
    leaky = IntegerSettings(4, 1.0, 'half_even', 'strict', 0.25, True)
    checks = ('test_schema', 'test_autograd_registration', 'test_faketensor')
    torch.use_deterministic_algorithms(False)  # opcheck compares what was never written
    for op, arguments in (
        (ops.binary, (x, *binary_arguments(keep_state=keep_state))),
        (
            ops.binary,
            (x, *binary_arguments(v=v, learned=w, leak=MULTIPLY, keep_state=keep_state)),
        ),
        (
            ops.binary,
            (x, *binary_arguments(learned=w, leak=SCALE, v_reset=None, keep_state=keep_state)),
        ),
        (ops.qcfs, (x, w, 16)),
        (ops.sfa, (x, 4, 4.0, 'half_even', 'inclusive', True)),
        (ops.ilif, (x, v, *leaky, keep_state, True)),
    ):
        torch.library.opcheck(op, arguments, test_utils=checks)
    torch.use_deterministic_algorithms(True)


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_compiles_into_one_graph(neuron):
    neuron.timesteps = 2
    x = torch.randn(4, 6)
    compiled = torch.compile(neuron, fullgraph=True, backend='aot_eager')
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = compiled(a), neuron(b)
    assert torch.equal(out, expected)
    out.sum().backward()
    expected.sum().backward()
    assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_exports(neuron):
    neuron.timesteps = 2
    x = torch.randn(4, 6)
    exported = torch.export.export(neuron, (x,))
    assert any('mmspike' in str(node.target) for node in exported.graph.nodes)
    assert torch.equal(exported.module()(x), neuron(x))


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_double_backward_is_refused(neuron):
    neuron.timesteps = 1
    x = torch.randn(2, 3, requires_grad=True)
    with neuron_backend('cpu'):
        out = neuron(x)
    (grad,) = torch.autograd.grad((out * x).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match='double backward'):
        grad.sum().backward()


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_transforms_of_functions_run_in_plain_torch(neuron):
    neuron.timesteps = 2
    x = torch.randn(3, 2, 4, requires_grad=True)

    def loss(row):
        return (neuron(row) * torch.arange(4)).sum()

    with torch.no_grad():
        mapped = torch.func.vmap(neuron)(x)
    assert torch.equal(mapped, torch.stack([neuron(row) for row in x]))
    grads = torch.func.vmap(torch.func.grad(loss))(x)
    expected = [torch.autograd.grad(loss(row), row)[0] for row in x.detach().requires_grad_()]
    torch.testing.assert_close(grads, torch.stack(expected))


def test_kernels_refuse_transforms_of_functions():
    x = torch.randn(3, 2, 4)
    with neuron_backend('cpu'), pytest.raises(RuntimeError, match='vmap, grad, jvp'):
        torch.func.vmap(LIF())(x)
    settings = IntegerSettings(4, 4.0, 'half_even', 'strict')
    calls = {
        ops.binary: binary_arguments(),
        ops.sfa: (*settings[NO_MEMORY], False),
        ops.ilif: (None, *settings, True, False),
        ops.qcfs: (torch.tensor(2.0), 16),
    }
    for op, arguments in calls.items():
        with pytest.raises(NotImplementedError, match='fold what is mapped into the batch'):
            torch.func.vmap(lambda row, op=op, arguments=arguments: op(row, *arguments))(x)


def test_autocast_keeps_the_dtype_of_the_input():
    with torch.autocast('cpu', torch.bfloat16), neuron_backend('cpu'):
        out = LIF()(torch.nn.functional.linear(torch.randn(2, 3), torch.randn(3, 3)))
    assert out.dtype == torch.bfloat16


def test_autocast_divides_in_the_dtype_of_the_input():
    neuron = SpikingQCFS(init_threshold=0.7, timesteps=2)
    x = torch.randn(4, 9).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        with neuron_backend('cpu'):
            out = neuron(x)
        with neuron_backend('reference'):
            expected = neuron(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected)


class Watching(TorchDispatchMode):
    """Lists the operators it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_calls_that_nobody_watches_go_around_the_dispatcher(neuron, monkeypatch):
    neuron.timesteps = 2
    dispatched = watch_kernels(monkeypatch)
    x = torch.randn(4, 6)
    with neuron_backend('cpu'):
        with Watching():
            expected = neuron(x)
        with torch.no_grad():
            out = neuron(x)
        with torch.inference_mode():
            neuron(x)
        neuron(x)
        trained = neuron(x.requires_grad_())
    assert dispatched == [True, False, False, False, False]
    assert torch.equal(out, expected)
    assert torch.equal(trained, expected)


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_gradients_are_those_of_the_operator(neuron, monkeypatch):
    neuron.timesteps = 2
    x, grad = torch.randn(4, 6), torch.randn(4, 6)
    leaves = [x.requires_grad_(), *neuron.parameters()]
    with neuron_backend('cpu'):
        found = torch.autograd.grad(neuron(x), leaves, grad)
        with Watching() as watching:
            expected = torch.autograd.grad(neuron(x), leaves, grad)
    # Both ways are the operators'.
    assert any('_backward' in name for name in watching.seen if name.startswith('mmspike.'))
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_whoever_watches_inference_sees_the_operator(neuron, monkeypatch):
    neuron.timesteps = 2
    dispatched = watch_kernels(monkeypatch)
    x = torch.randn(4, 6)
    with torch.no_grad(), neuron_backend('cpu'):
        with Watching() as mode:
            neuron(x)
        with torch.profiler.profile() as profiler:
            neuron(x)
        torch.compile(neuron, fullgraph=True, backend='aot_eager')(x)
        traced = torch.jit.trace(neuron, x, check_trace=False)
        fake = FakeTensorMode(allow_non_fake_inputs=True).from_tensor(x)
        assert type(neuron(fake)) is FakeTensor
    for seen in (
        mode.seen,
        [event.key for event in profiler.key_averages()],
        str(traced.inlined_graph).splitlines(),
    ):
        assert any('mmspike' in name for name in seen)
    assert len(dispatched) >= 4
    assert all(dispatched)
