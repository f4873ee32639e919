import multiprocessing

import pytest
import torch

from mmspike.neurons import LIF, SFA, reference
from mmspike.neurons.kernels import backend, host
from mmspike.neurons.kernels.backend import neuron_backend

BUILT = pytest.mark.skipif(not host.AVAILABLE, reason=host.HOW_TO_BUILD)


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
    with neuron_backend('host'), pytest.raises(RuntimeError, match=r"'host' was chosen, but .*64"):
        SFA()(torch.randn(2, 3, dtype=torch.float64))


def test_other_devices_run_in_plain_torch():
    assert LIF()(torch.randn(2, 3, device='meta')).device.type == 'meta'
    with neuron_backend('host'), pytest.raises(RuntimeError, match='the input is on meta'):
        LIF()(torch.randn(2, 3, device='meta'))


def test_missing_library_is_told_once(monkeypatch, capsys):
    monkeypatch.setattr(host, 'AVAILABLE', False)
    backend._tell_once.cache_clear()
    for _ in range(3):
        LIF()(torch.randn(2, 3))
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count('neurons run in plain torch') <= 1
    with neuron_backend('host'), pytest.raises(RuntimeError, match='install a C\\+\\+ compiler'):
        LIF()(torch.randn(2, 3))


def test_unknown_backend():
    with pytest.raises(ValueError, match="unknown neuron backend 'cuda'; known are auto"):
        neuron_backend('cuda').__enter__()


def test_choice_ends_with_the_block():
    with pytest.raises(KeyError), neuron_backend('reference'):
        raise KeyError
    assert backend._chosen == 'auto'


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
@pytest.mark.parametrize('variant', host.VARIANTS)
def test_every_variant_computes_the_same(variant, monkeypatch):
    """Also the one that this CPU would not choose, if it can run it."""
    if not host.VARIANTS[variant] <= host._cpu_flags():
        pytest.skip('this CPU cannot run it')
    x = torch.randn(4, 999, requires_grad=True)
    expected = LIF(timesteps=2)(x)
    (wanted,) = torch.autograd.grad(expected.sum(), x)
    monkeypatch.setattr(host, 'VARIANTS', {variant: host.VARIANTS[variant]})
    monkeypatch.setattr(host, 'LIBRARY', host.load_library())
    with neuron_backend('host'):
        out = LIF(timesteps=2)(x)
        (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(out, expected)
    torch.testing.assert_close(grad, wanted, rtol=1e-6, atol=1e-7)
