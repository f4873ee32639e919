"""What cannot be compiled, exported or traced says so, and what to do."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmspike.energy import EnergyCounter
from mmspike.execution import CompiledError, SpikeDriven, get_execution, set_execution
from mmspike.execution.compiled import compiled_parts
from mmspike.neurons import SFA

X = torch.rand(3, 6, generator=torch.Generator().manual_seed(0)) * 3

TORCH = tuple(map(int, torch.__version__.split('.')[:2]))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), SFA(D=4), nn.Linear(6, 2)).eval()


def compiled(net):
    return torch.compile(net, backend='eager')


def compiled_in_place(net):
    net.compile(backend='eager')
    return net


def compiled_part(net):
    net[2] = torch.compile(net[2], backend='eager')
    return net


def compiled_forward(net):
    net.forward = torch.compile(net.forward, backend='eager')
    return net


COMPILE = [compiled, compiled_in_place, compiled_part, compiled_forward]
RECORD = dict(
    compile=lambda net: torch.compile(net, backend='eager')(X),
    fullgraph=lambda net: torch.compile(net, backend='eager', fullgraph=True)(X),
    function=lambda net: torch.compile(lambda x: net(x) + 1, backend='eager')(X),
    export=lambda net: torch.export.export(net, (X,)),
    strict_export=lambda net: torch.export.export(net, (X,), strict=True),
    trace=lambda net: torch.jit.trace(net, (X,)),
)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()


@pytest.mark.parametrize('way', RECORD)
def test_a_model_on_spikes_is_not_recorded(way):
    net = network()
    set_execution(net, 'spike')
    with pytest.raises(RuntimeError, match=r"set_execution\(model, 'integer'\)"):
        RECORD[way](net)


@pytest.mark.parametrize('make', COMPILE)
def test_a_compiled_model_is_not_switched(make):
    model = make(network())
    with pytest.raises(CompiledError, match='is compiled, but spike-driven execution'):
        set_execution(model, 'spike')
    assert get_execution(model) == 'integer'
    assert torch.equal(model(X), network()(X))


@pytest.mark.parametrize('make', COMPILE)
@pytest.mark.parametrize('flow', [EnergyCounter, SpikeDriven])
def test_a_compiled_model_is_not_followed(make, flow):
    model = make(network())
    with pytest.raises(CompiledError, match='is compiled, but'):
        flow(model).__enter__()
    assert torch.equal(model(X), network()(X))


@pytest.mark.parametrize('way', RECORD)
def test_a_model_that_is_followed_is_not_recorded(way):
    net = network()
    with (
        pytest.raises(RuntimeError, match='EnergyCounter follows every function'),
        torch.no_grad(),
        EnergyCounter(net),
    ):
        RECORD[way](net)
    with EnergyCounter(net) as counter, torch.no_grad():
        net(X)
    assert counter.counts().samples == 3


def test_the_advice_works():
    net = network()
    set_execution(net, 'spike')
    on_spikes = net(X)
    set_execution(net, 'integer')
    model = compiled(net)
    with torch.no_grad():
        torch.testing.assert_close(model(X), on_spikes)
        with EnergyCounter(model._orig_mod) as counter:
            model._orig_mod(X)
    assert counter.counts().layers['2'].sops > 0


def test_training_of_a_switched_model_compiles():
    net = network()
    set_execution(net, 'spike')
    net.train()
    model = torch.compile(net, backend='eager', fullgraph=True)
    assert torch.equal(model(X), network()(X))


def test_names_of_compiled_parts():
    assert compiled_parts(network()) == []
    assert compiled_parts(compiled_part(network())) == ['2']
    assert compiled_parts(compiled_in_place(network())) == ['Sequential']
    net = network()
    net[0].forward = torch.compiler.disable(net[0].forward)
    assert compiled_parts(net) == []


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_refuse_as_well(copied):
    net = network()
    set_execution(net, 'spike')
    # torch 2.6 puts the error into one of its own.
    kind = CompiledError if TORCH >= (2, 7) else RuntimeError
    with pytest.raises(kind, match='neither compiled, nor exported, nor traced'):
        torch.export.export(copied(net), (X,))
