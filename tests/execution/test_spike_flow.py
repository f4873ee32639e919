"""What stays a spike train, and what a flow leaves behind."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmspike.energy import EnergyCounter
from mmspike.execution import SpikeFlow, SpikeTrain
from mmspike.neurons import LIF, QCFS, SFA
from mmspike.neurons.kernels import cpu
from mmspike.neurons.kernels.backend import neuron_backend
from support.kernel_calls import watch_kernels


def train_of(*shape, max_spikes=4, spike_value=0.25):
    values = torch.randint(0, max_spikes + 1, shape) * spike_value
    return SpikeTrain.of(values.float(), spike_value, max_spikes)


class Calling(nn.Module):
    """Applies a function to what a neuron fires."""

    def __init__(self, func, **neuron):
        super().__init__()
        self.neuron = SFA(**neuron)
        self.func = func

    def forward(self, x):
        return self.func(self.neuron(x))


MOVING = {
    'view': lambda s: s.view(4, 4, -1),
    'flatten': lambda s: s.flatten(1),
    'unflatten': lambda s: s.unflatten(0, (2, 2)),
    'index': lambda s: s[1:, ..., ::2],
    'transpose': lambda s: s.transpose(-2, -1),
    'T': lambda s: s[0, 0].T,
    'chunk': lambda s: s.chunk(2)[1],
    'unbind': lambda s: s.unbind()[0],
    'iteration': lambda s: next(iter(s)),
    'pad': lambda s: functional.pad(s, (1, 1)),
    'circular pad': lambda s: functional.pad(s, (1, 1, 1, 1), mode='circular'),
    'max pool': lambda s: functional.max_pool2d(s, 2),
    'max pool with indices': lambda s: functional.max_pool2d(s, 2, return_indices=True)[0],
    'nearest': lambda s: functional.interpolate(s, scale_factor=2),
    'dropout': lambda s: functional.dropout(s, 0.5, training=False),
    'cat': lambda s: torch.cat([s, s]),
    'stack': lambda s: torch.stack(tensors=[s, s]),
    'relu': lambda s: functional.relu(s, inplace=True),
    'to': lambda s: s.to(torch.float64),
    'by name': lambda s: torch.transpose(input=s, dim0=1, dim1=2),
    'clone': lambda s: s.clone().contiguous(),
    'shuffle': lambda s: functional.pixel_shuffle(s, 2),
}
OTHER = {
    'mean': lambda s: s.mean(0),
    'sum': lambda s: s + 1,
    'product with a number': lambda s: s * 0.5,
    'product with numbers': lambda s: s * torch.ones_like(s),
    'pad with ones': lambda s: functional.pad(s, (1, 1), value=1.0),
    'bilinear': lambda s: functional.interpolate(s, scale_factor=2, mode='bilinear'),
    'average pool': lambda s: functional.avg_pool2d(s, 2),
    'dropout': lambda s: functional.dropout(s, 0.5, training=True),
    'cat with numbers': lambda s: torch.cat([s, torch.rand_like(s)]),
    'where': lambda s: torch.where(condition=s > 0, input=s, other=1.0),
    'indices': lambda s: functional.max_pool2d(s, 2, return_indices=True)[1],
    'batch norm': lambda s: functional.batch_norm(s, torch.zeros(4), torch.ones(4)),
}


def called(func):
    net = Calling(func, D=4)
    x = torch.rand(4, 4, 4, 4) * 5
    expected = func(net.neuron(x))
    with SpikeFlow(net):
        out = func(net.neuron(x))
        seen = isinstance(out, SpikeTrain)
        assert torch.equal(out, expected) or func in (OTHER['dropout'], OTHER['cat with numbers'])
    return out, seen


@pytest.mark.parametrize('func', MOVING.values(), ids=MOVING)
def test_moved_spikes_stay_spikes(func):
    out, marked = called(func)
    assert marked
    assert (out.spike_value, out.max_spikes) == (0.25, 4)


@pytest.mark.parametrize('func', OTHER.values(), ids=OTHER)
def test_new_values_are_no_spikes(func):
    assert not called(func)[1]


def test_joined_spikes_of_other_worth_are_numbers():
    a, b = train_of(2, 3), train_of(2, 3, max_spikes=2)
    other = train_of(2, 3, spike_value=1.0)
    with SpikeFlow(nn.Identity()):
        joined = torch.cat([b, a])
        assert joined.max_spikes == 4
        assert not isinstance(torch.cat([a, other]), SpikeTrain)


@pytest.mark.parametrize(
    'multiply',
    [
        lambda a, b: a * b,
        torch.mul,
        lambda a, b: torch.multiply(input=a, other=b),
        torch.Tensor.mul,
    ],
)
def test_spikes_times_spikes_are_spikes(multiply):
    """Binary ones mask each other; of integers it is their product."""
    binary, mask = (train_of(2, n, 4, max_spikes=1, spike_value=1.0) for n in (3, 1))
    integer = train_of(2, 3, 4)
    with SpikeFlow(nn.Identity()):
        masked, product = multiply(binary, mask), multiply(integer, mask)
        squared = multiply(integer, integer)
    for out, worth in ((masked, (1, 1)), (product, (0.25, 4)), (squared, (0.0625, 16))):
        assert (out.spike_value, out.max_spikes) == worth
    assert torch.equal(masked.plain(), binary.plain() * mask.plain())
    assert torch.equal(squared.counts(), integer.counts() ** 2)


def test_changed_in_place_they_are_numbers():
    spikes = train_of(2, 3)
    with SpikeFlow(nn.Identity()):
        out = spikes.mul_(0.3)
    assert type(spikes) is type(out) is torch.Tensor


def test_slots_are_a_thermometer():
    spikes = SpikeTrain.of(torch.tensor([0.0, 0.25, 0.75, 1.0]), 0.25, 4)
    assert torch.stack(list(spikes.slots())).T.tolist() == [
        [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1],
    ]  # fmt: skip
    assert spikes.counts().tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(('D', 'norm'), [(4, 4), (3, 3), (7, 5), (16, 1)])
def test_counts_survive_rounding(dtype, D, norm):
    fired = torch.arange(D + 1)
    spikes = SpikeTrain.of((fired / norm).to(dtype), 1 / norm, D)
    assert torch.equal(spikes.counts(), fired.to(dtype))


def test_outside_of_a_flow_they_are_ordinary_tensors():
    spikes = train_of(2, 3)
    assert type(spikes + 1) is type(spikes.clone()) is type(spikes[0]) is torch.Tensor
    assert type(copy.deepcopy(spikes)) is torch.Tensor
    assert spikes.tolist() == spikes.plain().tolist()
    assert 'SpikeTrain' not in repr(nn.Linear(3, 2)(spikes))


def test_neurons_say_what_a_spike_is_worth():
    net = nn.ModuleList([LIF(), SFA(D=4), SFA(D=4, norm=1), SFA(D=4, eval_D=1), QCFS(levels=8)])
    with SpikeFlow(net.eval()):
        trains = [neuron(torch.rand(3, 2)) for neuron in net]
    assert [(x.spike_value, x.max_spikes) for x in trains] == [
        (1, 1), (0.25, 4), (1, 4), (0.25, 1), (0.25, 8),
    ]  # fmt: skip


def hooks_of(net):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_errors_leave_nothing_behind(error):
    def fail(x):
        raise error

    net = Calling(fail)
    with pytest.raises(error), SpikeFlow(net):
        net(torch.rand(2, 3))
    assert hooks_of(net) == 0
    assert type(net.neuron(torch.rand(2, 3))) is torch.Tensor


def test_an_error_caught_inside_the_model_does_not_confuse_names():
    class Trying(nn.Module):
        def __init__(self):
            super().__init__()
            self.failing = Calling(lambda s: s.no_such_attribute)
            self.fc = nn.Linear(3, 2)
            self.neuron = SFA()

        def forward(self, x):
            try:
                self.failing(x)
            except AttributeError:
                return self.fc(self.neuron(x))

    names = []

    class Listening(SpikeFlow):
        def weight_layer(self, func, args, kwargs):
            names.append(self.layer)
            return super().weight_layer(func, args, kwargs)

    net = Trying()
    with Listening(net):
        net(torch.rand(4, 3))
    assert names == ['fc']


def test_layers_are_given_their_arguments_by_position():
    weight, bias = torch.rand(2, 3), torch.rand(2)
    seen = []

    class Listening(SpikeFlow):
        def weight_layer(self, func, args, kwargs):
            seen.append((args, kwargs))
            return super().weight_layer(func, args, kwargs)

        def product(self, func, args, kwargs):
            seen.append((args, kwargs))
            return super().product(func, args, kwargs)

    spikes = train_of(4, 3)
    with Listening(nn.Identity()):
        functional.linear(bias=bias, weight=weight, input=spikes)
        torch.matmul(input=weight, other=spikes.mT)
    (layer, rest), (product, none) = seen
    assert layer[0] is spikes
    assert layer[1] is weight
    assert layer[2] is bias
    assert product[0] is weight
    assert isinstance(product[1], SpikeTrain)
    assert rest == none == {}


class Inside(SFA):
    """Tells whether a flow could see what it does, and fails on demand."""

    seen, error = None, None

    def fire(self, x, v):
        Inside.seen = not torch._C._is_torch_function_all_disabled()
        if self.error:
            raise self.error
        return super().fire(x, v)


def test_what_a_neuron_does_inside_is_not_followed():
    """Of two flows that follow it, one closes the door and opens it again."""
    net = nn.Sequential(Inside(), nn.Linear(3, 2))
    with SpikeFlow(net):
        net(torch.rand(2, 3))
        assert Inside.seen is False
        with SpikeFlow(net):
            net(torch.rand(2, 3))
            assert Inside.seen is False
            assert isinstance(torch.relu(net[0](torch.rand(2, 3))), SpikeTrain)
        assert isinstance(torch.relu(net[0](torch.rand(2, 3))), SpikeTrain)
    net[0](torch.rand(2, 3))
    assert Inside.seen is True


def test_a_layer_inside_a_neuron_is_seen():
    class Gated(SFA):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(3, 3)

        def fire(self, x, v):
            return super().fire(self.gate(x), v)

    class Recurrent(SFA):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.rand(3, 3))

        def fire(self, x, v):
            return super().fire(x @ self.matrix, v)

    net = nn.Sequential(Gated(), Recurrent())
    with torch.no_grad(), EnergyCounter(net, strict=True) as counter:
        net(torch.rand(2, 3))
    layers = counter.counts().layers
    assert layers['0.gate'].analog_macs == layers['1: product 1'].analog_macs == 18


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_a_neuron_that_fails_leaves_the_door_open(error):
    net = nn.Sequential(Inside())
    net[0].error = error
    with pytest.raises(error), SpikeFlow(net), SpikeFlow(net):
        net(torch.rand(2, 3))
    assert not torch._C._is_torch_function_all_disabled()
    assert 'forward' not in vars(net[0])


def test_an_interrupted_flow_that_nobody_closed():
    """As mmengine's hooks leave it, since an interrupt ends the loop that calls them."""
    net, flow = nn.Sequential(Inside()), SpikeFlow(nn.Sequential(SFA()))
    net[0].error = KeyboardInterrupt
    flow = SpikeFlow(net)
    flow.__enter__()
    try:
        with pytest.raises(KeyboardInterrupt):
            net(torch.rand(2, 3))
        assert not torch._C._is_torch_function_all_disabled()
    finally:
        flow.__exit__(None, None, None)


def test_flows_that_end_in_another_order_leave_the_neuron_as_it_was():
    """Two threads follow one model, and the flow that began first ends first."""
    net, x = nn.Sequential(Inside()), torch.rand(2, 3)
    net[0].forward = own = net[0].forward
    second_began, first_ended = threading.Event(), threading.Event()

    def second():
        with SpikeFlow(net):
            second_began.set()
            first_ended.wait(60)
            net(x)
            return Inside.seen

    with ThreadPoolExecutor(1) as pool:
        with SpikeFlow(net):
            seen = pool.submit(second)
            second_began.wait(60)
        first_ended.set()
        assert seen.result() is False
    assert net[0].forward is own
    net(x)
    assert Inside.seen is True


def test_a_copy_of_a_followed_model_has_neurons_of_its_own():
    net, x = nn.Sequential(Inside()), torch.rand(2, 3)
    with SpikeFlow(net):
        copied = copy.deepcopy(net)
        assert torch.equal(copied(x), net(x))
    copied[0].error = KeyError
    net(x)
    with pytest.raises(KeyError):
        copied(x)


def test_a_copy_of_a_followed_model_is_not_followed():
    net = nn.Sequential(nn.Linear(4, 4), SFA(D=4), nn.Linear(4, 2)).eval()
    x = torch.randn(5, 4)
    with EnergyCounter(net):
        copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
        assert all(type(copied[:2](x)) is torch.Tensor for copied in copies)
    for copied in copies:
        assert type(copied[:2](x)) is torch.Tensor
        with EnergyCounter(copied) as counter:
            copied(x)
        assert counter.samples == 5


def test_two_threads_in_one_followed_model():
    """Each finds its own door open afterwards."""
    net, meet = nn.Sequential(Inside()), threading.Barrier(2, timeout=60)
    net[0].fire = lambda x, v: (meet.wait(), (x, v))[1]
    after = []

    def call():
        net(torch.rand(2, 3))
        after.append(torch._C._is_torch_function_all_disabled())

    with SpikeFlow(net):
        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert after == [False, False]


@pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)
def test_a_neuron_runs_its_kernel_without_the_dispatcher(monkeypatch):
    """Torch's way through a custom operator takes as long as the kernel of a small map."""
    dispatched = watch_kernels(monkeypatch)
    net = nn.Sequential(SFA())
    with torch.no_grad(), neuron_backend('cpu'), SpikeFlow(net):
        net(torch.rand(2, 3))
    assert dispatched == [False]
