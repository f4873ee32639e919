import re

import h5py
import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net

from mmspike import get_timesteps, set_timesteps
from mmspike.deploy.nir import from_nir, to_nir
from mmspike.neurons import IF, LIF, set_stateful

DT = 1e-4
N, T, B = 5, 8, 3
random = np.random.default_rng(0)


def between(low, high):
    return random.uniform(low, high, N)


def cuba(kind, **more):
    return kind(
        tau_syn=between(2, 5) * DT, tau_mem=between(2, 5) * DT, r=between(1, 4),
        v_leak=between(-0.1, 0.1), w_in=between(1, 4), **more,
    )  # fmt: skip


def fires():
    return dict(v_threshold=between(0.3, 1), v_reset=between(-0.3, 0))


NODES = {
    'I': nir.I(r=between(0.5, 2) / DT),
    'LI': nir.LI(tau=between(1, 5) * DT, r=between(1, 3), v_leak=between(-0.2, 0.2)),
    'IF': nir.IF(r=between(0.5, 2) / DT, **fires()),
    'LIF': nir.LIF(tau=between(1, 5) * DT, r=between(1, 3), v_leak=between(-0.2, 0.2), **fires()),
    'CubaLI': cuba(nir.CubaLI),
    'CubaLIF': cuba(nir.CubaLIF, **fires()),
}


def simulate(node, x):
    """NIR's equations with the step DT, in float64: x ``(T, B, N)`` to ``(T, B, N)``."""
    tau = getattr(node, 'tau', getattr(node, 'tau_mem', None))
    v = getattr(node, 'v_leak', getattr(node, 'v_reset', 0.0))
    current, out = 0.0, []
    for step in x:
        if hasattr(node, 'tau_syn'):
            current = current + DT / node.tau_syn * (node.w_in * step - current)
        else:
            current = step
        change = node.r * current if tau is None else (node.v_leak - v + node.r * current) / tau
        v = v + DT * change
        if hasattr(node, 'v_threshold'):
            fired = v >= node.v_threshold
            v = np.where(fired, node.v_reset, v)
        out.append(fired.astype(float) if hasattr(node, 'v_threshold') else v)
    return np.array(out)


def input_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(T * B, N, generator=generator)


def loaded(graph, timesteps=T, **options):
    net = from_nir(graph, **options)
    set_timesteps(net, timesteps)
    return net


@pytest.mark.parametrize('node', NODES.values(), ids=NODES)
@torch.no_grad()
def test_neurons_with_numbers_of_their_own(node):
    x = input_of()
    expected = simulate(node, x.unflatten(0, (T, B)).double().numpy())
    net = loaded(nir.NIRGraph.from_list(node))
    out = net(x)
    np.testing.assert_allclose(out.unflatten(0, (T, B)), expected, rtol=1e-4, atol=1e-5)
    assert expected.any()
    # Out and in once more.
    again = loaded(to_nir(net, x))
    torch.testing.assert_close(again(x), out)


@pytest.mark.parametrize('node', NODES.values(), ids=NODES)
@torch.no_grad()
def test_streams(node):
    """In chunks with ``set_stateful`` as in one go; a reset begins anew."""
    net, x = loaded(nir.NIRGraph.from_list(node)), input_of()
    expected = net(x)
    assert torch.equal(net(x), expected)  # from rest
    set_stateful(net)
    set_timesteps(net, T // 2)
    for _ in range(2):
        chunks = torch.cat([net(chunk) for chunk in x.chunk(2)])
        assert torch.equal(chunks, expected)
        reset_net(net)


def uniform(**numbers):
    return {key: np.full(N, value) for key, value in numbers.items()}


FITTING = [  # a node, the neuron, and the numbers that may be others
    (
        nir.IF(**uniform(r=1 / DT, v_threshold=0.7, v_reset=-1)),
        IF(threshold=0.7, v_reset=-1),
        {'v_threshold', 'v_reset'},
    ),
    (
        nir.LIF(**uniform(tau=3 * DT, r=1, v_leak=0, v_threshold=0.7, v_reset=0)),
        LIF(tau=3.0, threshold=0.7),
        {'v_threshold', 'tau'},
    ),
    (
        nir.LIF(**uniform(tau=3 * DT, r=3, v_leak=0, v_threshold=0.7, v_reset=0)),
        LIF(tau=3.0, threshold=0.7, decay_input=False),
        {'v_threshold'},
    ),
]


@pytest.mark.parametrize(('node', 'neuron', 'free'), FITTING)
def test_neurons_of_mmspike_are_taken_where_they_fit(node, neuron, free):
    (found,) = from_nir(nir.NIRGraph.from_list(node)).values()
    assert found.describe() == neuron.describe()
    numbers = {key: x for key, x in vars(node).items() if key not in ('input_type', 'output_type')}
    del numbers['metadata']
    for key in numbers:
        other = type(node)(**{**numbers, key: numbers[key] * 1.3 + 1e-5})
        (found,) = from_nir(nir.NIRGraph.from_list(other)).values()
        assert isinstance(found, type(neuron)) == (key in free), key


def recurrent():
    """A layer with connections to itself, and one that skips it."""
    weight = (random.integers(-4, 5, (2, N, N)) / 8).astype(np.float32)
    nodes = {
        'input': nir.Input([N]),
        'type': nir.Linear(weight[0]),
        'a.b': nir.IF(**uniform(r=1 / DT, v_threshold=1, v_reset=0)),
        'a_b': nir.Affine(weight[1], np.full(N, 0.125, dtype=np.float32)),
        'output': nir.Output([N]),
    }
    edges = [
        ('a_b', 'a.b'), ('input', 'type'), ('type', 'a.b'), ('a.b', 'a_b'), ('a.b', 'output'),
        ('type', 'output'),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges), weight


@torch.no_grad()
def test_loops_carry_what_was_a_step_before():
    graph, (first, back) = recurrent()
    x = torch.randint(0, 3, (T * B, N)).float()
    net = loaded(graph)
    assert get_timesteps(net) == T
    v, feedback, expected = np.zeros((B, N)), 0.0, []
    for step in x.unflatten(0, (T, B)).numpy():
        current = step @ first.T
        v = v + current + feedback
        fired = (v >= 1).astype(np.float32)
        v = np.where(fired > 0, 0, v)
        feedback = fired @ back.T + 0.125
        expected.append(fired + current)
    expected = torch.tensor(np.concatenate(expected), dtype=torch.float32)
    assert torch.equal(net(x), expected)
    assert torch.equal(net(x), expected)
    set_stateful(net)
    set_timesteps(net, 2)
    for _ in range(2):
        assert torch.equal(torch.cat([net(chunk) for chunk in x.chunk(T // 2)]), expected)
        reset_net(net)
    set_stateful(net, False)
    set_timesteps(net, T)
    assert torch.equal(net(x), expected)


@torch.no_grad()
def test_loops_of_one_node():
    nodes = {'input': nir.Input([1]), 'a': nir.Scale(np.array([0.5])), 'output': nir.Output([1])}
    net = loaded(nir.NIRGraph(nodes, [('input', 'a'), ('a', 'a'), ('a', 'output')]), 4)
    assert net(torch.ones(4, 1)).flatten().tolist() == [0.5, 0.75, 0.875, 0.9375]


def test_gradients_pass_through_loops():
    net, x = loaded(recurrent()[0]).train(), input_of().requires_grad_()
    net(x).sum().backward()
    assert net['a_b_'].weight.grad.any()
    assert x.grad.any()


def test_names_that_a_module_cannot_have():
    net = from_nir(recurrent()[0])
    assert list(net) == ['type_', 'a_b', 'a_b_']


def test_graphs_within_graphs():
    inner = nir.NIRGraph.from_list(nir.Scale(np.arange(3.0)), nir.Threshold(np.array([1, 2, 3.0])))
    outer = nir.NIRGraph.from_list(nir.Scale(np.full(3, 2.0)), inner)
    assert from_nir(outer)(torch.ones(2, 3)).tolist() == [[0, 1, 1]] * 2


def test_padding_by_name():
    conv = nir.Conv2d((4, 5), np.ones((1, 1, 3, 3)), 1, 'same', 1, 1, np.ones(1))
    out = from_nir(nir.NIRGraph.from_list(conv))(torch.ones(1, 1, 4, 5))
    assert out.shape == (1, 1, 4, 5)
    assert out[0, 0, 0, 0] == 5


def test_export_of_a_loop_says_where_to_find_it():
    net = from_nir(recurrent()[0])
    with pytest.raises(ValueError, match='use the graph that it came from'):
        to_nir(net, torch.rand(1, N))


# --- Graphs that cannot be run --------------------------------------------------------------------


def scale():
    return nir.Scale(np.ones(2))


def graph(nodes=(), edges=(), drop=()):
    all_nodes = {'input': nir.Input([2]), 'a': scale(), 'output': nir.Output([2]), **dict(nodes)}
    for name in drop:
        del all_nodes[name]
    all_edges = [('input', 'a'), ('a', 'output'), *edges]
    return nir.NIRGraph(all_nodes, all_edges, type_check=False)


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (graph({'a': nir.Delay(np.ones(2))}), 'a of the graph is a Delay node, which mmspike cann'),
        (graph(edges=[('a', 'b')]), "edge ('a', 'b') of the graph names b, which is no node"),
        (graph(edges=[('input', 'a')]), "the graph has the edge ('input', 'a') 2 times"),
        (graph({'b': scale()}), 'no path leads from the input of the graph to b'),
        (graph({'b': nir.Input([2])}), 'must have one Input node, it has 2 (input, b)'),
        (graph(drop=['output']), 'must have one Output node, it has 0'),
        (graph(edges=[('a', 'input')]), 'an edge leads into the input'),
        (
            graph({'a': nir.LI(np.full(2, 1e-5), np.ones(2), np.ones(2))}),
            'a of the graph (LI): its time constant 1e-05 s is shorter than one step, dt=0.0001 s',
        ),
        (graph({'a': nir.Linear(np.ones((1, 2, 2)))}), '(Linear): its weight must have 2 dimens'),
        (
            graph({'a': nir.Affine(np.ones((2, 2)), np.ones(3))}),
            '(Affine): its bias must have shape (2,), got (3,)',
        ),
        (
            graph({'a': nir.Conv2d(None, np.ones((1, 1, 1)), 1, 0, 1, 1, np.ones(1))}),
            '(Conv2d): its weight must have 4 dimensions',
        ),
        (
            graph({'a': nir.SumPool2d(np.ones(3), np.ones(2), np.ones(2))}),
            '(SumPool2d): it has 2 dimensions, but [1.0, 1.0, 1.0] has 3',
        ),
    ],
)
def test_graphs_that_cannot_be_run(bad, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_nir(bad)


def test_nodes_within_graphs_are_named():
    inner = graph({'a': nir.Delay(np.ones(2))})
    with pytest.raises(ValueError, match='a of b of the graph is a Delay node'):
        from_nir(graph({'b': inner}, [('a', 'b'), ('b', 'output')]))


def test_what_is_no_graph():
    with pytest.raises(TypeError, match=r'a path, got a Scale; .*NIRGraph\.from_list'):
        from_nir(scale())


# --- Files ----------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    to_nir(torch.nn.Sequential(torch.nn.Linear(9, 9), LIF()), torch.rand(1, 9), tmp_path / 'x.nir')
    return tmp_path / 'x.nir'


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no file'):
        from_nir(tmp_path / 'none.nir')
    with pytest.raises(IsADirectoryError, match='is a directory'):
        from_nir(tmp_path)


def test_damaged_files(path):
    """Whatever byte is lost: the network, or one sentence."""
    random, content, refused = np.random.default_rng(0), path.read_bytes(), 0
    for _ in range(60):
        broken = bytearray(content)
        for place in random.integers(0, len(content), 8):
            broken[place] ^= int(random.integers(1, 256))
        path.write_bytes(broken[: random.integers(len(content) // 2, len(content) + 1)])
        message = refusal(path)
        assert message is None or str(path) in message or 'of the graph' in message
        refused += message is not None
    assert refused > 40


def refusal(path):
    try:
        from_nir(path)
    except ValueError as error:
        return str(error)
    return None


def test_other_files(path):
    path.write_text('text')
    with pytest.raises(ValueError, match=r'x\.nir \(4 bytes\) cannot be read as a NIR graph'):
        from_nir(path)
    with h5py.File(path, 'w') as file:
        file['weights'] = np.ones(3)
    with pytest.raises(ValueError, match='cannot be read as a NIR graph'):
        from_nir(path)
    nir.write(path, scale())
    with pytest.raises(ValueError, match='cannot be read as a NIR graph'):
        from_nir(path)


def test_unknown_nodes_in_files(path):
    with h5py.File(path, 'r+') as file:
        del file['node/nodes/0/type']
        file['node/nodes/0/type'] = 'os.system'
    with pytest.raises(ValueError, match='cannot be read as a NIR graph'):
        from_nir(path)
