"""When the dispatcher is left out, and that it never is where a tensor or a mode needs it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmspike.neurons import IF, ILIF
from mmspike.neurons.kernels import cpu, dispatcher
from mmspike.neurons.kernels.dispatcher import is_plain, may_be_left_out
from mmspike.neurons.kernels.ops import common
from mmspike.recorders.spike_sums import SpikeSums
from support import neurons
from support.kernel_calls import watch_kernels
from support.loaded_anew import loaded_anew

BUILT = pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)
NEURONS = [kind() for kind in neurons.NEURONS]
IDS = [type(neuron).__name__ for neuron in NEURONS]


class Labelled(torch.Tensor):
    """A subclass of tensors."""


LAZY = {
    'negated': torch._neg_view(torch.ones(2, 3)),
    'imaginary_of_conjugate': torch.randn(2, 3, dtype=torch.complex64).conj().imag,
    'zeros_without_memory': torch._efficientzerotensor((2, 3)),
    'sparse': torch.ones(2, 3).to_sparse(),
    'compressed': torch.eye(3).to_sparse_csr(),
    'nested': torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    'quantised': torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.quint8),
    'meta': torch.ones(2, 3, device='meta'),
    'subclass': torch.ones(2, 3).as_subclass(Labelled),
}


@pytest.mark.parametrize('kind', LAZY)
def test_tensors_that_need_the_dispatcher(kind):
    assert not is_plain(LAZY[kind])
    with torch.no_grad():
        assert not may_be_left_out((1.0, LAZY[kind]))


def test_plain_tensors():
    x = torch.ones(2, 3)
    with torch.inference_mode():
        inside = torch.ones(2)
    for tensor in (x, x.t(), x[:, ::2], torch.nn.Parameter(x), inside, x.half()):
        assert is_plain(tensor)
        with torch.no_grad():
            assert may_be_left_out((tensor, None, 'text', 2.0))
        with torch.inference_mode():
            assert may_be_left_out((tensor,))


def test_whoever_watches_needs_the_dispatcher():
    x = torch.ones(2)
    assert may_be_left_out((x,))
    with torch.no_grad():
        assert may_be_left_out((x,))
        with FlopCounterMode(display=False):
            assert not may_be_left_out((x,))
        with torch.profiler.profile():
            assert not may_be_left_out((x,))
        with torch.device('cpu'):  # a mode of functions
            assert not may_be_left_out((x,))
        with torch.autocast('cpu', torch.bfloat16):
            assert may_be_left_out((x,))
        assert may_be_left_out((x,))


@BUILT
@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_negated_views_keep_their_sign(neuron, grad):
    x = 3 * torch.randn(4, 100)
    imaginary = torch.complex(torch.zeros_like(x), x).conj().imag
    with torch.set_grad_enabled(grad):
        for view in (torch._neg_view(x), imaginary):
            assert view.is_neg()
            assert torch.equal(neuron(view), neuron(-x))


@BUILT
@pytest.mark.parametrize('neuron', [IF(stateful=True), ILIF(stateful=True)], ids=['IF', 'ILIF'])
def test_negated_membranes_keep_their_sign(neuron):
    x, v = torch.zeros(1, 100), 3 * torch.randn(1, 100)
    with torch.no_grad():
        neuron.v = torch._neg_view(v)
        ours = neuron(x)
        neuron.v = -v
        assert torch.equal(ours, neuron(x))


@BUILT
@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_zeros_without_memory(neuron):
    with torch.no_grad():
        assert not neuron(torch._efficientzerotensor((2, 3))).any()


def test_sums_of_negated_spikes():
    spikes = torch._neg_view(-torch.ones(2, 3, 4))
    sums = SpikeSums(spikes)
    assert sums.total == 24
    assert sums.active == 24


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (torch._C, '_dispatch_keys'),
        (torch._C, '_dispatch_tls_local_include_set'),
        (torch._C, '_len_torch_function_stack'),
        (torch._C, '_is_torch_function_all_disabled'),
        (torch._C, 'DispatchKeySet'),
        (torch.autograd, '_profiler_enabled'),
    ],
)
def test_a_torch_without_a_private_name_takes_the_dispatcher(owner, name, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delattr(owner, name)
        anew = loaded_anew(dispatcher)
    x = torch.ones(2)
    with torch.no_grad():
        assert may_be_left_out((x,))
        assert not anew.may_be_left_out((x,))
    assert not anew.is_plain(x)


@BUILT
@pytest.mark.parametrize('neuron', NEURONS, ids=IDS)
def test_neurons_run_without_the_private_names(neuron, monkeypatch):
    x = 3 * torch.randn(4, 10)
    dispatched = watch_kernels(monkeypatch)
    with monkeypatch.context() as patch:
        patch.delattr(torch._C, '_dispatch_keys')
        anew = loaded_anew(dispatcher)
    with torch.no_grad():
        expected = neuron(x)
        monkeypatch.setattr(common, 'may_be_left_out', anew.may_be_left_out)
        assert torch.equal(neuron(x), expected)
    assert dispatched == [False, True]


def test_this_torch_has_all_private_names():
    assert is_plain(torch.ones(2))
