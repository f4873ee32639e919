"""Neurons under torch.compile, whose graphs serve every batch, image size and memory layout."""

import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from mmspike.neurons import LIF
from mmspike.neurons.kernels import cpu
from mmspike.neurons.kernels.backend import neuron_backend
from support import neurons

NEURONS = [
    *(kind() for kind in neurons.NEURONS),
    LIF(tau=3.0, decay_input=False, v_reset=None, detach_reset=False),
]
IDS = [repr(neuron) for neuron in NEURONS]
# Batch, height and width change, alone and together. (T*B, C, H, W) with T=2. By torch's rules a
# size of 1, and sizes that are equal at first, get graphs of their own.
SIZES = [(4, 3, 8, 7), (6, 3, 8, 7), (10, 3, 5, 9), (8, 3, 6, 6)]
BUILT = pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)
CASES = [
    pytest.param('cpu', True, marks=BUILT),
    pytest.param('cpu', None, marks=BUILT),
    ('reference', True),
]


pytestmark = pytest.mark.usefixtures('compiled_anew')


def compare(compiled, net, x):
    """Output, its strides and the gradient are those of the network that is not compiled."""
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = compiled(a), net(b)
    assert torch.equal(out, expected)
    assert out.stride() == expected.stride()
    for result in (out, expected):
        (result * torch.linspace(-1, 1, result.numel()).view(result.shape)).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.slow
@pytest.mark.parametrize(('backend', 'dynamic'), CASES)
@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_one_graph_serves_all_sizes(neuron, backend, dynamic):
    neuron.timesteps = 2
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), neuron)
    counter = CompileCounterWithBackend('aot_eager')
    compiled = torch.compile(net, fullgraph=True, dynamic=dynamic, backend=counter)
    with neuron_backend(backend):
        compare(compiled, net, torch.randn(SIZES[0]))
        first = counter.frame_count
        for size in SIZES[1:]:
            compare(compiled, net, torch.randn(size))
    # Automatic: what changes becomes a symbol, the batch first, then the height, then the width.
    assert counter.frame_count <= first + (0 if dynamic else 3)


LAYOUTS = {
    'channels_last': lambda n, c, h, w: torch.randn(n, h, w, c).movedim(-1, 1),
    'transposed': lambda n, c, h, w: torch.randn(w, h, c, n).permute(3, 2, 1, 0),
    'sliced': lambda n, c, h, w: torch.randn(n, 2 * c, h, w)[:, ::2],
    'expanded': lambda n, c, h, w: torch.randn(1, c, 1, w).expand(n, c, h, w),
}


@pytest.mark.slow
@pytest.mark.parametrize('layout', ['channels_last', 'transposed'])
@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_one_graph_serves_all_sizes_of_a_layout(neuron, layout):
    neuron.timesteps = 2
    counter = CompileCounterWithBackend('aot_eager')
    compiled = torch.compile(neuron, fullgraph=True, dynamic=True, backend=counter)
    compare(compiled, neuron, LAYOUTS[layout](4, 6, 5, 8))
    first = counter.frame_count
    for size in [(6, 6, 5, 8), (8, 4, 7, 6)]:
        compare(compiled, neuron, LAYOUTS[layout](*size))
    assert counter.frame_count == first


@pytest.mark.slow
@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_a_stream_of_any_size(neuron):
    """Stateful neurons: the membrane is an input and an output of the graph."""
    neuron = copy.deepcopy(neuron)
    neuron.timesteps, neuron.stateful = 2, True
    stream = nn.Sequential(nn.Conv2d(3, 4, 1), neuron)
    compiled = torch.compile(stream, fullgraph=True, dynamic=True, backend='aot_eager')
    for size in [(4, 3, 4, 5), (6, 3, 4, 5), (6, 3, 5, 8)]:
        chunks = torch.randn(2, *size)
        results = []
        for net in (compiled, stream):
            neuron.reset()
            with torch.no_grad():
                results.append([net(chunk) for chunk in chunks])
        for out, expected in zip(*results, strict=True):
            assert torch.equal(out, expected)


@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_an_export_serves_all_sizes_and_layouts(neuron):
    neuron.timesteps = 2
    batch, height = torch.export.Dim('batch', min=2, max=64), torch.export.Dim('height', max=64)
    program = torch.export.export(
        neuron.eval(), (torch.randn(4, 6, 5, 8),), dynamic_shapes=({0: 2 * batch, 2: height},)
    )
    exported = program.module()
    for size in [(4, 6, 5, 8), (8, 6, 5, 8), (10, 6, 7, 8)]:
        for x in (torch.randn(size), *(layout(*size) for layout in LAYOUTS.values())):
            assert torch.equal(exported(x), neuron(x))


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_a_trace_serves_all_layouts(neuron):
    neuron.timesteps = 2
    size = (4, 6, 5, 8)
    with torch.no_grad():
        traced = torch.jit.trace(neuron, torch.randn(size))
    for layout in LAYOUTS.values():
        x = layout(*size)
        assert torch.equal(traced(x), neuron(x))
