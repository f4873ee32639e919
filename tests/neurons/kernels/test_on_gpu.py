"""The CUDA kernels on a real GPU: the same bits as the CPU kernels, and good manners."""

import socket

import pytest
import torch
from torch import nn

from mmspike.neurons import IF, LIF, PLIF, SFA, SpikingQCFS
from mmspike.neurons.kernels import cpu
from mmspike.neurons.kernels.backend import neuron_backend
from support import neurons

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device'),
    pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD),
]
NEURONS = [
    *(kind() for kind in neurons.NEURONS if kind is not SpikingQCFS),
    IF(v_reset=None),
    LIF(tau=3.0, decay_input=False, detach_reset=False, surrogate='atan'),
    SFA(rounding='half_up', grad_window='strict'),
    SpikingQCFS(init_threshold=0.7),
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def run(neuron, x, backend):
    neuron = neuron.to(x.device)
    leaf = x.clone().requires_grad_()
    with neuron_backend(backend):
        out, _ = neuron.fire(leaf, None)
        weights = torch.linspace(-1, 1, x.numel(), device=x.device).view_as(x)
        grads = torch.autograd.grad((out * weights).sum(), [leaf, *neuron.parameters()])
    return out.detach().cpu(), [grad.cpu() for grad in grads]


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('shape', [(1, 7), (4, 3, 5, 8), (4, 100_003), (21, 4096)], ids=str)
@pytest.mark.parametrize('neuron', NEURONS, ids=repr)
def test_same_spikes_as_the_cpu_kernels(neuron, shape, dtype):
    x = (torch.randn(shape) * 2).to(dtype)
    out, grads = run(neuron, x.cuda(), 'cuda')
    expected, expected_grads = run(neuron, x, 'cpu')
    assert torch.equal(out, expected)
    for ours, theirs in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('neuron', NEURONS, ids=repr)
def test_state_is_carried(neuron):
    x = torch.randn(6, 2, 9)
    outputs = []
    for where in ('cuda', 'cpu'):
        neuron = neuron.to(where)
        neuron.stateful, neuron.timesteps = True, 3
        neuron.reset()
        chunks = [neuron(part.flatten(0, 1).to(where)) for part in x.split(3)]
        outputs.append(torch.cat(chunks).cpu())
    neuron.stateful = False
    neuron.reset()
    assert torch.equal(*outputs)


def test_channels_last_is_taken_as_it_is():
    x = torch.randn(4, 6, 5, 8, device='cuda').to(memory_format=torch.channels_last)
    out = LIF(timesteps=2)(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out.cpu(), LIF(timesteps=2)(x.cpu()))


def test_work_goes_to_the_current_stream():
    """A long wait lies before the input on a stream of its own: a launch elsewhere reads zeros."""
    x, stream = torch.zeros(2, 1000, device='cuda'), torch.cuda.Stream()
    LIF(timesteps=2)(x)  # compiles
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        x.fill_(3.0)
        out = LIF(timesteps=2)(x)
        assert torch.cuda.current_stream() == stream
    assert not stream.query()  # nothing waited for the GPU
    stream.synchronize()
    assert out.sum() == 2000
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='one GPU')
def test_the_current_device_stays_current():
    x = torch.full((2, 5), 3.0, device='cuda:1')
    assert LIF(timesteps=2)(x).device == x.device
    assert torch.cuda.current_device() == 0


def test_a_sequence_of_more_than_two_to_the_31_elements():
    free, _ = torch.cuda.mem_get_info()
    if free < 12 * 2**30:
        pytest.skip('12 GiB of GPU memory are needed')
    x = torch.zeros(4, 2**29 + 8, dtype=torch.float16, device='cuda')
    x[-1, -5:] = 3.0
    with torch.no_grad():
        out = LIF(timesteps=4).fire(x, None)[0]
    assert out.count_nonzero() == 5
    assert out[-1, -5:].all()


def test_autocast_and_compile():
    net = nn.Sequential(nn.Linear(8, 8), LIF(timesteps=2)).cuda()
    x = torch.randn(4, 8, device='cuda')
    with torch.autocast('cuda', torch.float16):
        expected = net(x)
        assert expected.dtype == torch.float16
        assert torch.equal(torch.compile(net, fullgraph=True)(x), expected)


def _train(rank: int, ranks: int, port: int, results) -> None:
    where = torch.device('cuda', rank % torch.cuda.device_count())
    torch.distributed.init_process_group(
        'gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=ranks
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), PLIF(timesteps=2), nn.Linear(16, 1)).to(where)
    model = nn.parallel.DistributedDataParallel(net)
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(rank)).to(where)
    current = torch.cuda.current_device()
    model(x).sum().backward()
    assert torch.cuda.current_device() == current
    results[rank] = [p.grad.cpu().clone() for p in net.parameters()]
    torch.distributed.destroy_process_group()


def test_distributed_data_parallel():
    """Two processes, on one GPU or two, without a device being made current in either."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context('spawn')
    results = context.Manager().dict()
    torch.multiprocessing.spawn(_train, (2, port, results), nprocs=2)
    first, second = results[0], results[1]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), PLIF(timesteps=2), nn.Linear(16, 1))
    for rank in range(2):
        x = torch.randn(8, 8, generator=torch.Generator().manual_seed(rank))
        (net(x).sum() / 2).backward()
    for ours, wanted in zip(first, net.parameters(), strict=True):
        torch.testing.assert_close(ours, wanted.grad, rtol=1e-4, atol=1e-5)
