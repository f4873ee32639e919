"""The CUDA kernels, executed on the CPU by an emulator, against the CPU kernels."""

import contextlib
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmspike.neurons import IF, ILIF, LIF, PLIF, SFA, SpikingQCFS
from mmspike.neurons.kernels import cpu, cuda
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.neurons.kernels.ops import common
from support import neurons
from support.cuda_emulator import CudaEmulator

NEURONS = [
    *(kind() for kind in neurons.NEURONS),
    IF(v_reset=None, surrogate='triangular'),
    IF(v_reset=-0.25, detach_reset=False, surrogate='rectangular'),
    LIF(tau=3.0, decay_input=False, detach_reset=False, surrogate='atan'),
    PLIF(decay_input=False, v_reset=None),
    SFA(rounding='half_up', grad_window='strict'),
    ILIF(norm=None, rounding='half_up', grad_window='strict', detach_reset=False),
    SpikingQCFS(init_threshold=0.7, surrogate='atan'),
]
# A multiple of 8 is read 16 bytes at a time; others are not, and leave a tail in the mask.
SHAPES = [(1,), (7,), (24,), (3, 2, 8), (203,)]


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
    if not shutil.which('c++'):
        pytest.skip('no C++ compiler')
    return CudaEmulator(tmp_path_factory.mktemp('device'))


@pytest.fixture
def emulator(compiled, monkeypatch):
    """CPU tensors go to the CUDA kernels: a device with one small multiprocessor."""
    compiled.take_cpu_tensors(monkeypatch)
    monkeypatch.setattr(cuda, 'BLOCK', 3)
    monkeypatch.setattr(cuda, 'BLOCKS_PER_MULTIPROCESSOR', 2)
    compiled.launched.clear()
    torch.use_deterministic_algorithms(True)  # unwritten memory is NaN
    yield compiled
    torch.use_deterministic_algorithms(False)


def run(neuron, x, state):
    """Output, last membrane, and the gradients of x, the membrane and the learned number."""
    leaves = [t.clone().requires_grad_() for t in (x, state)]
    weights = torch.linspace(-1, 1, x.numel()).view_as(x)
    with neuron_backend('cpu'):
        out, v_end = neuron.fire(leaves[0], leaves[1] if neuron.stateful else None)
        total = (out * weights).sum()
        if v_end is not None:
            total = total + (v_end * weights[0].float()).sum()
        learned = list(neuron.parameters())
        grads = torch.autograd.grad(total, [*leaves, *learned], allow_unused=True)
    return [out, v_end, *grads[:2]], list(grads[2:])


@pytest.mark.slow
@pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('steps', [1, 4, 8, 21])
@pytest.mark.parametrize('neuron', NEURONS, ids=repr)
def test_same_bits_as_the_cpu_kernels(neuron, steps, dtype, emulator, monkeypatch):
    for shape in SHAPES:
        for stateful in (False, True):
            neuron.stateful = stateful
            generator = torch.Generator().manual_seed(steps)
            x = (torch.randn(steps, *shape, generator=generator) * 2).to(dtype)
            state = torch.randn(shape, generator=generator)
            before = len(emulator.launched)
            ours, learned = run(neuron, x, state)
            assert len(emulator.launched) == before + 2
            with monkeypatch.context() as patch:
                patch.setattr(common, 'cpu', cpu)
                expected, expected_learned = run(neuron, x, state)
            for a, b in zip(ours, expected, strict=True):
                assert (a is None and b is None) or torch.equal(a, b)
            # A sum over all neurons: the order differs.
            torch.testing.assert_close(learned, expected_learned, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('neuron', NEURONS, ids=repr)
def test_rows_that_begin_anywhere(neuron, emulator):
    """Views into a larger buffer: 16-byte accesses would not be aligned."""
    neuron.stateful = False
    x = (torch.randn(4 * 24 + 1) * 2)[1:].view(4, 24)
    assert x.data_ptr() % 16
    with torch.no_grad(), neuron_backend('cpu'):
        out = neuron.fire(x, None)[0]
        expected = neuron.fire(x.clone(), None)[0]
    assert torch.equal(out, expected)
    first, second = emulator.launched
    assert first.endswith('false>')
    assert second.endswith('true>')


def test_nothing_is_launched_for_nothing(emulator):
    x = torch.empty(4, 0, requires_grad=True)
    with neuron_backend('cpu'):
        LIF(timesteps=4)(x).sum().backward()
    assert emulator.launched == []
    assert x.grad.shape == (4, 0)


# --- launching ----------------------------------------------------------------------------------


class FakeCuPy:
    """Records what a launch hands to CuPy, and the device and stream that are current then."""

    def __init__(self):
        self.modules, self.launches, self.current = [], [], []
        self.cuda = SimpleNamespace(Stream=SimpleNamespace(from_external=self._stream))

    def _stream(self, stream):
        version, pointer = stream.__cuda_stream__()
        assert version == 0
        return self.entered(f'stream {pointer}')

    @contextlib.contextmanager
    def entered(self, what):
        self.current.append(what)
        try:
            yield
        finally:
            self.current.remove(what)

    def RawModule(self, **options):
        self.modules.append(options)

        def launch(grid, block, arguments):
            self.launches.append((name, grid, block, arguments, tuple(self.current)))

        def get_function(wanted):
            nonlocal name
            name = wanted
            return launch

        name = None
        return SimpleNamespace(get_function=get_function)


@pytest.fixture
def cupy(monkeypatch):
    fake = FakeCuPy()
    monkeypatch.setitem(sys.modules, 'cupy', fake)
    monkeypatch.setattr(torch.cuda, 'device', lambda where: fake.entered(f'device {where.index}'))
    monkeypatch.setattr(
        torch.cuda, 'current_stream', lambda where: SimpleNamespace(cuda_stream=70 + where.index)
    )
    return fake


# Compiled kernels are kept for the life of the process: these are names of no real ones.


def test_launches_go_to_the_current_stream_of_the_device(cupy):
    for index in (0, 1, 1):
        where = torch.device('cuda', index)
        cuda.launch('made_up<float, true>', 5, where, [1, np.float32(2)])
    name = 'mmspike::made_up<float, true>'
    assert [launch[:4] for launch in cupy.launches] == [
        (name, (5,), (256,), (1, np.float32(2)))
    ] * 3
    assert [launch[4] for launch in cupy.launches] == [
        ('device 0', 'stream 70'), ('device 1', 'stream 71'), ('device 1', 'stream 71')
    ]  # fmt: skip
    assert cupy.current == []
    (module,) = cupy.modules  # compiled once
    assert module['name_expressions'] == (name,)
    assert module['options'] == ('-std=c++17', '--fmad=false')


def test_device_and_stream_are_put_back_after_a_failure(cupy, monkeypatch):
    def broken(**options):
        raise RuntimeError('no driver')

    monkeypatch.setattr(cupy, 'RawModule', broken)
    with pytest.raises(RuntimeError, match='no driver'):
        cuda.launch('failing<float, true>', 1, torch.device('cuda', 0), [])
    assert cupy.current == []


def test_source_is_one_text():
    """CuPy's cache on disk knows a kernel by its text, and does not look into included files."""
    assert '#include' not in cuda.source()
    assert 'integer_fire' in cuda.source()


def test_without_cupy_the_reason_and_the_fix_are_told(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cupy', None)
    assert 'pip install mmspike[cuda12]' in cuda.obstacle.__wrapped__()


def test_amd_gpus_are_left_to_plain_torch(monkeypatch, cupy):
    monkeypatch.setattr(torch.version, 'hip', '6.0')
    assert 'AMD' in cuda.obstacle.__wrapped__()
