import multiprocessing
import os
import threading
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger

from mmspike.neurons import LIF, SFA, reference
from mmspike.neurons.kernels import backend, cpu, cpu_library, cuda
from mmspike.neurons.kernels.backend import chosen_backend, neuron_backend, use_kernels
from support.loaded_anew import loaded_anew

BUILT = pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)


@pytest.fixture
def forbidden_reference(monkeypatch):
    """Proves that a kernel ran, and not the fallback."""

    def forbidden(*args, **kwargs):
        raise AssertionError('the reference ran')

    for name in ('leaky_integrate_and_fire', 'integer_fire'):
        monkeypatch.setattr(reference, name, forbidden)


@BUILT
def test_kernels_run_by_themselves(forbidden_reference):
    LIF()(torch.randn(2, 3))
    SFA()(torch.randn(2, 3))


def test_reference_can_be_chosen(forbidden_reference):
    with neuron_backend('reference'), pytest.raises(AssertionError, match='the reference ran'):
        LIF()(torch.randn(2, 3))


@BUILT
def test_float64_runs_in_plain_torch(forbidden_reference):
    with pytest.raises(AssertionError, match='the reference ran'):
        SFA()(torch.randn(2, 3, dtype=torch.float64))
    with neuron_backend('cpu'), pytest.raises(RuntimeError, match=r"'cpu' was chosen, but .*64"):
        SFA()(torch.randn(2, 3, dtype=torch.float64))


def test_other_devices_run_in_plain_torch():
    assert LIF()(torch.randn(2, 3, device='meta')).device.type == 'meta'
    with neuron_backend('cpu'), pytest.raises(RuntimeError, match='the input is on meta'):
        LIF()(torch.randn(2, 3, device='meta'))


@pytest.fixture
def log(caplog):
    """What mmengine's logger is given."""
    MMLogger.get_current_instance().addHandler(caplog.handler)
    yield caplog
    MMLogger.get_current_instance().removeHandler(caplog.handler)


def test_missing_library_is_told_once(monkeypatch, log):
    monkeypatch.setattr(cpu, 'AVAILABLE', False)
    anew = loaded_anew(backend)
    for _ in range(3):
        assert not anew.use_kernels(torch.randn(2, 3))
    assert log.messages == [f'neurons on cpu run in plain torch: {cpu.HOW_TO_BUILD}']
    with neuron_backend('cpu'), pytest.raises(RuntimeError, match='install a C\\+\\+ compiler'):
        LIF()(torch.randn(2, 3))


def on_cuda(dtype=torch.float32):
    """What the choice looks at in a CUDA tensor."""
    return SimpleNamespace(
        device=torch.device('cuda'),
        dtype=dtype,
        is_cuda=True,
        layout=torch.strided,
        is_nested=False,
    )


def test_cuda_inputs_go_to_cupy(monkeypatch):
    monkeypatch.setattr(cuda, 'obstacle', lambda: None)
    assert use_kernels(on_cuda())
    assert not use_kernels(on_cuda(torch.float64))
    with neuron_backend('cuda'):
        assert use_kernels(on_cuda())
    with neuron_backend('cpu'), pytest.raises(RuntimeError, match='the input is on cuda; move it'):
        use_kernels(on_cuda())


def test_missing_cupy_is_told_with_the_name_of_the_extra(monkeypatch):
    reason = cuda.HOW_TO_INSTALL.format(error="No module named 'cupy'")
    monkeypatch.setattr(cuda, 'obstacle', lambda: reason)
    assert not use_kernels(on_cuda())
    wanted = r"'cuda' was chosen, but CuPy cannot be .*No module.*pip install mmspike\[cuda12\]"
    with neuron_backend('cuda'), pytest.raises(RuntimeError, match=wanted):
        use_kernels(on_cuda())


def test_cupy_was_chosen_for_a_cpu_input():
    with neuron_backend('cuda'), pytest.raises(RuntimeError, match='the input is on cpu; move it'):
        LIF()(torch.randn(2, 3))


@BUILT
def test_the_choice_is_logged_once_per_device(monkeypatch, log):
    monkeypatch.setattr(cuda, 'obstacle', lambda: 'CuPy is missing')
    anew = loaded_anew(backend)
    for x in (torch.ones(2, 3), on_cuda(), torch.ones(4)) * 2:
        anew.use_kernels(x)
    assert log.messages == [
        'neurons on cpu run in fused kernels',
        'neurons on cuda run in plain torch: CuPy is missing',
    ]


@pytest.mark.slow
def test_importing_needs_no_cupy_and_no_cuda(run_python):
    program = (
        'import sys; sys.modules["cupy"] = None; import mmspike, torch; '
        'from mmspike.neurons import LIF; LIF()(torch.ones(2, 3)); '
        'assert not torch.cuda.is_initialized()'
    )
    run_python('-c', program)


def test_unknown_backend():
    with pytest.raises(ValueError, match="unknown neuron backend 'vulkan'; known are auto"):
        neuron_backend('vulkan').__enter__()


def test_choice_ends_with_the_block():
    with pytest.raises(KeyError), neuron_backend('reference'):
        raise KeyError
    assert chosen_backend() == 'auto'


def test_blocks_in_blocks():
    with neuron_backend('cpu'):
        with neuron_backend('reference'):
            assert chosen_backend() == 'reference'
        assert chosen_backend() == 'cpu'
        with neuron_backend('cpu'):
            assert chosen_backend() == 'cpu'
        assert chosen_backend() == 'cpu'
    assert chosen_backend() == 'auto'


def test_every_thread_has_its_own_choice(compiled_anew):
    """Blocks overlap: the first to open is the first to close."""
    graphs = []
    compiled = torch.compile(SFA(), backend=lambda graph, example: graphs.append(graph) or graph)
    compiled(torch.ones(2, 3))
    steps = [threading.Event() for _ in range(3)]
    seen = []

    def first():
        with neuron_backend('reference'):
            steps[0].set()
            steps[1].wait(30)
            seen.append(chosen_backend())
        steps[2].set()

    def second():
        steps[0].wait(30)
        seen.append(chosen_backend())
        with neuron_backend('cpu'):
            steps[1].set()
            steps[2].wait(30)
            seen.append(chosen_backend())
        seen.append(chosen_backend())

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == ['auto', 'reference', 'cpu', 'auto']
    assert chosen_backend() == 'auto'
    # Nor does a block stay open for compiled code, which would be compiled for it once more.
    compiled(torch.ones(2, 3))
    assert len(graphs) == 1


@BUILT
def test_compiled_code_follows_the_choice():
    """A graph is made for each choice, and found again."""
    torch._dynamo.reset()
    x, graphs = torch.randn(2, 3), []

    def keep(graph, example):
        graphs.append(str(graph.code))
        return graph

    compiled = torch.compile(SFA(), fullgraph=True, backend=keep)
    for _ in range(2):
        compiled(x)
        with neuron_backend('reference'):
            compiled(x)
            with neuron_backend('cpu'):
                compiled(x)
    assert ['mmspike' in graph for graph in graphs] == [True, False, True]


@BUILT
def test_exports_follow_the_choice():
    def exported():
        return str(torch.export.export(SFA(), (torch.randn(2, 3),)).graph)

    assert 'mmspike' in exported()
    with neuron_backend('reference'):
        assert 'mmspike' not in exported()
    assert 'mmspike' in exported()


@BUILT
def test_compiled_code_of_another_thread_is_not_refused():
    """It used to see the block, and its float64 was an error there."""
    results = []

    def run():
        torch._dynamo.reset()
        compiled = torch.compile(SFA(), fullgraph=True, backend='eager')
        results.append(compiled(torch.ones(2, 3, dtype=torch.float64)).tolist())

    with neuron_backend('cpu'):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)
    assert results == [[[0.25] * 3] * 2]


@pytest.mark.slow
@pytest.mark.parametrize(('value', 'code'), [('reference', 0), ('quick', 1)])
def test_environment_variable(run_python, value, code):
    program = (
        'import torch; from mmspike.neurons.kernels.backend import use_kernels; '
        'assert not use_kernels(torch.ones(1))'
    )
    env = dict(MMSPIKE_NEURON_BACKEND=value)
    done = run_python('-c', program, env=env, check=False)
    assert done.returncode == code, done.stderr
    if code:
        assert "unknown neuron backend 'quick'" in done.stderr


def _child(queue, x):
    torch.set_num_threads(1)  # as torch's DataLoader does: threads do not survive a fork
    queue.put(LIF()(x).sum().item())


@BUILT
def test_works_in_a_forked_process():
    """Loader workers are forked."""
    x = torch.full((2, 200_000), 3.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        LIF()(x)
        context = multiprocessing.get_context('fork')
        queue = context.Queue()
        process = context.Process(target=_child, args=(queue, x))
        process.start()
        assert queue.get(timeout=60) == 400_000
        process.join(timeout=10)
    finally:
        torch.set_num_threads(threads)


@BUILT
@pytest.mark.parametrize('variant', cpu_library.VARIANTS)
def test_every_variant_computes_the_same(variant, monkeypatch):
    """Also the one that this CPU would not choose, if it can run it."""
    if not cpu_library.VARIANTS[variant] <= cpu_library.cpu_flags():
        pytest.skip('this CPU cannot run it')
    if 'MMSPIKE_CPU_KERNELS' in os.environ:
        pytest.skip('a folder with libraries for a debugger need not hold all variants')
    x = torch.randn(4, 999, requires_grad=True)
    expected = LIF(timesteps=2)(x)
    (wanted,) = torch.autograd.grad(expected.sum(), x)
    monkeypatch.setattr(cpu_library, 'VARIANTS', {variant: cpu_library.VARIANTS[variant]})
    monkeypatch.setattr(cpu_library, 'LIBRARY', cpu_library.load_library())
    with neuron_backend('cpu'):
        out = LIF(timesteps=2)(x)
        (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(out, expected)
    torch.testing.assert_close(grad, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(('old', 'new'), [('host', 'cpu'), ('cupy', 'cuda')])
def test_names_of_before_work_and_name_the_new_ones(old, new):
    with pytest.warns(DeprecationWarning, match=f"'{old}' is now '{new}'"), neuron_backend(old):
        assert chosen_backend() == new
