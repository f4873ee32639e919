"""Our neurons beside spikingjelly's, and under its tools."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import base, functional, monitor, neuron, op_counter, surrogate
from torch import nn

from mmspike.neurons import IF, ILIF, LIF, PLIF, SFA, BaseNeuron, set_stateful
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.temporal import fold_time
from support.weights_alone import weights_alone

SURROGATES = {
    'sigmoid': surrogate.Sigmoid,
    'atan': surrogate.ATan,
    'triangular': surrogate.PiecewiseQuadratic,
}
STEPS = st.sampled_from([1, 2, 7])
SEEDS = st.integers(0, 2**31 - 1)
FIRING = st.fixed_dictionaries(
    {
        'threshold': st.sampled_from([0.5, 1.0, 1.25]),
        'v_reset': st.sampled_from([None, 0.0, -0.5, 0.25]),
        'detach_reset': st.booleans(),
        'surrogate': st.fixed_dictionaries(
            {'type': st.sampled_from(sorted(SURROGATES)), 'alpha': st.sampled_from([1.0, 2.0, 4.0])}
        ),
    }
)


def node_options(firing):
    spec = firing['surrogate']
    return dict(
        v_threshold=firing['threshold'],
        v_reset=firing['v_reset'],
        detach_reset=firing['detach_reset'],
        surrogate_function=SURROGATES[spec['type']](alpha=spec['alpha']),
        step_mode='m',
    )


def random_currents(seed, T, dtype=torch.float64, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(T, 2, 8, generator=generator, dtype=dtype) + 0.5


def tied_currents(seed, T, dtype=torch.float64):
    """Multiples of 1/4: membranes stay exact for tau 2 or 4 and often lie on the threshold."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 13, (T, 2, 8), generator=generator).to(dtype) / 4


def assert_same(ours, theirs, currents):
    """Compare spikes, the last membrane, and the gradients of the input and of parameters."""
    ours.stateful = True
    ours.timesteps = currents.shape[0]
    weights = torch.linspace(-1, 2, currents.numel(), dtype=currents.dtype).view_as(currents)
    results = []
    for node, fold in ((ours, True), (theirs, False)):
        x = currents.clone().requires_grad_()
        out = node(fold_time(x)).view_as(x) if fold else node(x)
        ((out * weights).sum() + node.v.square().sum()).backward()
        results.append([out, node.v, x.grad, *(p.grad.reshape(()) for p in node.parameters())])
    assert torch.equal(results[0][0], results[1][0])
    tolerance = 1e-10 if currents.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance)


@given(STEPS, SEEDS, FIRING, st.sampled_from([random_currents, tied_currents]))
@settings(deadline=None, max_examples=30)
def test_if_is_if_node(T, seed, firing, currents):
    assert_same(IF(**firing), neuron.IFNode(**node_options(firing)), currents(seed, T))


@given(STEPS, SEEDS, FIRING, st.floats(1.01, 8), st.booleans())
@settings(deadline=None, max_examples=30)
def test_lif_is_lif_node(T, seed, firing, tau, decay_input):
    options = dict(tau=tau, decay_input=decay_input)
    theirs = neuron.LIFNode(**options, **node_options(firing))
    assert_same(LIF(**options, **firing), theirs, random_currents(seed, T))


@given(STEPS, SEEDS, FIRING, st.sampled_from([2.0, 4.0]), st.booleans())
@settings(deadline=None, max_examples=30)
def test_lif_is_lif_node_on_the_threshold(T, seed, firing, tau, decay_input):
    options = dict(tau=tau, decay_input=decay_input)
    theirs = neuron.LIFNode(**options, **node_options(firing))
    assert_same(LIF(**options, **firing), theirs, tied_currents(seed, T))


@given(STEPS, SEEDS, FIRING, st.floats(1.01, 8), st.booleans())
@settings(deadline=None, max_examples=30)
def test_plif_is_parametric_lif_node(T, seed, firing, init_tau, decay_input):
    options = dict(init_tau=init_tau, decay_input=decay_input)
    theirs = neuron.ParametricLIFNode(**options, **node_options(firing)).double()
    assert_same(PLIF(**options, **firing).double(), theirs, random_currents(seed, T))


@given(
    STEPS,
    SEEDS,
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from([4 / 3, 2.0, 4.0]),
    st.sampled_from([random_currents, tied_currents]),
)
@settings(deadline=None, max_examples=30)
def test_ilif_is_ilif_node(T, seed, D, detach_reset, tau, currents):
    ours = ILIF(D=D, decay=1 - 1 / tau, detach_reset=detach_reset)
    counter = surrogate.MultiLevelSpikeCount(D)
    theirs = neuron.ILIFNode(
        tau=tau, surrogate_function=counter, detach_reset=detach_reset, step_mode='m'
    )
    assert_same(ours, theirs, 2 * currents(seed, T))


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        (IF, neuron.IFNode),
        (LIF, neuron.LIFNode),
        (PLIF, neuron.ParametricLIFNode),
        (ILIF, neuron.ILIFNode),
    ],
)
@pytest.mark.parametrize('currents', [random_currents, tied_currents])
def test_defaults_are_the_same_in_float32_but_for_the_reset(ours, theirs, currents):
    # spikingjelly does not detach the reset by default.
    x = currents(0, 7, dtype=torch.float32)
    assert_same(ours(detach_reset=False), theirs(step_mode='m'), x)
    assert_same(ours(), theirs(step_mode='m', detach_reset=True), x)


def test_a_parametric_lif_node_checkpoint_loads_into_plif():
    model = nn.Sequential(PLIF())
    model.load_state_dict(nn.Sequential(neuron.ParametricLIFNode(init_tau=5.0)).state_dict())
    assert model[0].tau == pytest.approx(5.0, rel=1e-6)


# Its tools, on a model of ours


def spiking_model(T=3, **options):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 6),
        LIF(timesteps=T, **options),
        nn.Sequential(nn.Linear(6, 5), SFA(timesteps=T, norm=1, **options)),
        ILIF(timesteps=T, **options),
    )
    for parameter in model.parameters():
        parameter.data *= 3
    return model


def neurons_of(model):
    return [module for module in model.modules() if isinstance(module, BaseNeuron)]


def batch(T=3, B=2):
    return 3 * torch.randn(T * B, 4, generator=torch.Generator().manual_seed(1))


def test_reset_net_brings_every_neuron_to_rest():
    model = spiking_model(stateful=True)
    first = model(batch())
    assert not torch.equal(model(batch()), first)
    functional.reset_net(model)
    assert [node.v for node in neurons_of(model)] == [0.0, 0.0, 0.0]
    assert torch.equal(model(batch()), first)


def test_reset_net_lets_another_batch_size_in():
    model = spiking_model(stateful=True)
    model(batch())
    with pytest.raises(ValueError, match='reset_net'):
        model(batch(B=5))
    functional.reset_net(model)
    assert model(batch(B=5)).shape == (15, 5)


@pytest.mark.parametrize('step_mode', ['s', 'm'])
def test_set_step_mode_changes_nothing(step_mode):
    model = spiking_model()
    expected = model(batch())
    assert expected.any()
    functional.set_step_mode(model, step_mode)
    assert torch.equal(model(batch()), expected)


def test_detach_net_cuts_the_stream():
    model = spiking_model(stateful=True)
    first, second = batch().requires_grad_(), batch().requires_grad_()
    model(first).sum().backward()
    before = first.grad.clone()
    functional.detach_net(model)
    model(second).sum().backward()
    assert torch.equal(first.grad, before)
    assert second.grad.abs().sum() > 0


def test_without_detach_net_the_stream_carries_gradients():
    node = LIF(stateful=True)
    first, second = (torch.full((1, 1), 0.5, requires_grad=True) for _ in range(2))
    node(first)
    node(second).sum().backward()
    assert first.grad.item() == pytest.approx(second.grad.item() / 2)


def test_a_stream_can_be_copied_once_detached():
    node = LIF(stateful=True)
    node(torch.full((1, 1), 0.5, requires_grad=True))
    functional.detach_net(node)
    assert copy.deepcopy(node).v.item() == 0.25


def test_output_monitor_records_the_spikes():
    model, x = spiking_model(), batch()
    with (
        monitor.OutputMonitor(model, LIF) as spikes,
        monitor.OutputMonitor(model, BaseNeuron) as all_,
    ):
        model(x)
        model(x)
    assert spikes.monitored_layers == ['1']
    assert all_.monitored_layers == ['1', '2.1', '3']
    expected = model[1](model[0](x))
    assert len(spikes.records) == 2
    assert torch.equal(spikes['1'][1], expected)
    assert set(expected.unique().tolist()) == {0, 1}


def test_output_monitor_measures_firing_rates():
    model = nn.Sequential(IF(timesteps=2))
    with monitor.OutputMonitor(model, IF, lambda spikes: spikes.mean().item()) as rates:
        model(torch.tensor([[1.0, 0.5, 0.25], [0.0, 0.5, 0.25]]))
    assert rates.records == [pytest.approx(2 / 6)]


def test_attribute_monitor_reads_the_membrane():
    model = nn.Sequential(IF(stateful=True))
    with monitor.AttributeMonitor('v', False, model, IF) as membranes:
        for _ in range(3):
            model(torch.full((1,), 0.25))
    assert [v.item() for v in membranes.records] == [0.25, 0.5, 0.75]


def test_functional_forward_threads_the_state_from_outside():
    node = LIF(timesteps=2, stateful=True)
    x = random_currents(0, 4).flatten(0, 1)
    run = base.to_functional_forward(node)
    (first,), states = run((x[:4],), (0.0,))
    (second,), states = run((x[4:],), states)
    assert node.v == 0.0
    whole = LIF(timesteps=4, stateful=True)
    assert torch.equal(torch.cat([first, second]), whole(x))
    assert torch.equal(states[0], whole.v)


def counted_models():
    """The same network twice, ours with folded time and spikingjelly's, and an input for each."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(4, 6), LIF(timesteps=3), nn.Linear(6, 5, bias=False))
    theirs = nn.Sequential(nn.Linear(4, 6), neuron.LIFNode(step_mode='m'), nn.Linear(6, 5))
    theirs[2].bias = None
    theirs.load_state_dict(weights_alone(ours.state_dict()))
    x = batch()
    return (ours, x), (theirs, x.unflatten(0, (3, 2)))


def count(counter, model, x):
    with op_counter.DispatchCounterMode([counter]), torch.no_grad():
        model(x)
    functional.reset_net(model)
    return counter


def test_synaptic_operations_are_spikes_times_fan_out():
    (model, x), _ = counted_models()
    spikes = model[1](model[0](x)).sum().item()
    assert spikes > 0
    assert count(op_counter.SynOpCounter(), model, x).get_total() == spikes * 5


def test_multiplications_are_those_of_the_real_valued_input_alone():
    (model, x), _ = counted_models()
    assert count(op_counter.MACCounter(), model, x).get_total() == 6 * 4 * 6


@pytest.mark.parametrize('name', ['SynOpCounter', 'MACCounter'])
def test_layer_operations_are_those_of_spikingjelly_nodes(name):
    ours, theirs = (count(getattr(op_counter, name)(), *model) for model in counted_models())
    assert ours.get_total() == theirs.get_total() > 0


@pytest.mark.parametrize('name', ['ACCounter', 'FlopCounter', 'MemoryAccessCounter'])
def test_operations_inside_the_neuron_are_counted(name):
    (model, x), _ = counted_models()
    with neuron_backend('reference'):  # a fused kernel is one operation, which shows nothing inside
        counts = count(getattr(op_counter, name)(), model, x).get_counts()
    assert sum(counts['Sequential.1'].values()) > 0


def test_simple_energy_counts_the_operations_of_spikingjelly_nodes():
    ours, theirs = (op_counter.estimate_simple_energy(*model) for model in counted_models())
    for key in ('mac', 'synop', 'weight_read_bytes', 'bias_read_bytes'):
        assert ours.counts[key] == theirs.counts[key]
    assert ours.counts['synop'] > 0


def test_stateful_neurons_of_ours_and_theirs_share_one_reset():
    model = nn.Sequential(IF(stateful=True), neuron.IFNode())
    model(torch.full((1, 2), 0.5))
    functional.reset_net(model)
    assert [node.v for node in model] == [0.0, 0.0]
    set_stateful(model, False)
    assert not model[0].stateful
