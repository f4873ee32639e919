"""Neurons as standard operators compute what the reference computes, in every bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmspike.deploy.lowering import lower_neurons
from mmspike.neurons import IF, ILIF, LIF, PLIF, QCFS, SFA, SpikingQCFS
from mmspike.neurons.kernels.backend import neuron_backend
from support.neurons import NEURONS
from support.onnx_graphs import model_of, neuron_model, neuron_node, run_model, value

# Numbers that float32 holds exactly, and others.
NUMBERS = st.one_of(st.sampled_from([0.25, 0.5, 1.0, 2.0]), st.floats(0.1, 4.0))
ROUNDING = dict(rounding=st.sampled_from(['half_even', 'half_up']))
INTEGER = dict(ROUNDING, D=st.integers(1, 300), norm=st.one_of(st.none(), NUMBERS))
BINARY = dict(threshold=NUMBERS, v_reset=st.one_of(st.none(), st.just(0.0), st.floats(-2.0, 0.09)))
TAU = st.one_of(st.sampled_from([1.25, 2.0, 4.0]), st.floats(1.1, 10.0))
OPTIONS = {
    SFA: dict(INTEGER, eval_D=st.one_of(st.none(), st.integers(1, 8))),
    ILIF: dict(INTEGER, decay=st.one_of(st.sampled_from([0.0, 0.25, 1.0]), st.floats(0.0, 1.0))),
    QCFS: dict(levels=st.integers(1, 300), init_threshold=NUMBERS),
    SpikingQCFS: dict(init_threshold=NUMBERS),
    IF: BINARY,
    LIF: dict(BINARY, tau=TAU, decay_input=st.booleans()),
    PLIF: dict(BINARY, init_tau=TAU, decay_input=st.booleans()),
}
SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=3)


def test_options_cover_every_neuron():
    assert set(OPTIONS) == set(NEURONS)


@st.composite
def neurons(draw):
    kind = draw(st.sampled_from(list(OPTIONS)))
    options = draw(st.fixed_dictionaries(OPTIONS[kind]))
    return kind(timesteps=draw(st.integers(1, 5)), **options).eval()


@torch.no_grad()
def currents(neuron, shape, seed):
    """``(T*2, *shape)``: numbers where a neuron just fires, their neighbours, any, large ones."""
    random = torch.Generator().manual_seed(seed)
    shape = (neuron.timesteps * 2, *shape)
    noise = torch.randn(shape, generator=random)
    ties = torch.randint(-3, 12, shape, generator=random) * tie_of(neuron)
    beside = torch.nextafter(ties, noise * 100)
    kinds = torch.stack([ties, beside, noise * 2, noise * 1e4])
    return kinds.gather(0, torch.randint(0, 4, shape, generator=random)[None])[0]


def tie_of(neuron):
    """Multiples of this number lie on a threshold or half way between two integers."""
    if isinstance(neuron, QCFS | SpikingQCFS):
        return neuron.spike_value / 2
    return 0.5 if isinstance(neuron, SFA | ILIF) else neuron.threshold


def test_qcfs_whose_steps_are_worth_1_divides_as_the_reference():
    neuron = QCFS(levels=49, init_threshold=49.0).eval()
    x = torch.arange(50.0)
    (out,) = run_model(neuron_model(neuron, 1, quantise=False), x, 'onnxruntime')
    assert np.array_equal(out, reference(neuron, x))
    assert not np.array_equal(out, x)  # 1 / 49 * 49 is not 1


def reference(neuron, x):
    with neuron_backend('reference'), torch.no_grad():
        return neuron(x).numpy()


@given(neurons(), SHAPES, st.integers(0, 9999))
@settings(max_examples=100, deadline=None)
def test_float32_equals_the_reference(neuron, shape, seed):
    x = currents(neuron, shape, seed)
    (out,) = run_model(neuron_model(neuron, x.dim(), quantise=False), x, 'onnxruntime')
    assert np.array_equal(out, reference(neuron, x))


@given(neurons(), SHAPES, st.integers(0, 9999))
@settings(max_examples=100, deadline=None)
def test_int8_carries_the_same_integers(neuron, shape, seed):
    x = currents(neuron, shape, seed)
    model = neuron_model(neuron, x.dim(), quantise=True)
    (out,) = run_model(model, x, 'onnxruntime')
    worth = np.float32(neuron.spike_value)
    fired = np.rint(reference(neuron, x) / worth)
    assert np.array_equal(out, fired * worth if neuron.max_spikes <= 255 else reference(neuron, x))
    kinds = {node.op_type for node in model.graph}
    assert ({'QuantizeLinear', 'DequantizeLinear'} <= kinds) == (neuron.max_spikes <= 255)


def test_a_neuron_that_is_called_twice_has_two_outputs():
    first = neuron_node(SFA(), value('x', 2))
    second = neuron_node(SFA(), first.outputs[0])
    model = model_of([first.inputs[0]], [second.outputs[0]], [first, second])
    assert list(lower_neurons(model, quantise=False)) == ['neuron', 'neuron:2']
    assert [out.name for out in model.graph.outputs] == ['neuron:2']
    assert list(model.opset_imports) == ['']


# OpenVINO may multiply by a reciprocal where the reference divides, and fuses operations. With
# powers of two that is exact.
EXACT = [
    SFA(D=4),
    SFA(D=3, norm=1.0, rounding='half_up', timesteps=2),
    ILIF(D=4, timesteps=4),
    QCFS(levels=16, init_threshold=2.0),
    SpikingQCFS(init_threshold=2.0, timesteps=4),
    IF(timesteps=4),
    IF(timesteps=4, v_reset=None),
    LIF(timesteps=4, v_reset=-0.5),
    LIF(timesteps=4, tau=4.0, decay_input=False, v_reset=None),
    PLIF(timesteps=4, init_tau=2.0),
]
INEXACT = [
    ILIF(D=5, norm=None, decay=0.3, timesteps=4),
    QCFS(levels=10, init_threshold=1.7),
    SpikingQCFS(init_threshold=1.7, timesteps=4),
    IF(timesteps=4, threshold=0.7, v_reset=None),
    LIF(timesteps=4, threshold=0.7, tau=3.0, v_reset=-0.3),
    PLIF(timesteps=4, init_tau=3.0, v_reset=None, decay_input=False),
]


@pytest.mark.parametrize('quantise', [False, True])
@pytest.mark.parametrize('neuron', EXACT, ids=repr)
def test_openvino_equals_the_reference_with_powers_of_two(neuron, quantise):
    x = torch.randint(-12, 40, (4 * 2, 500)) / 8
    (out,) = run_model(neuron_model(neuron, 2, quantise=quantise), x, 'openvino')
    expected = reference(neuron, x)
    assert 0 < (expected > 0).mean() < 1
    assert np.allclose(out, expected, rtol=1e-6, atol=0)  # thirds are rounded
    worth = neuron.spike_value
    assert np.array_equal(np.rint(out / worth), np.rint(expected / worth))


@pytest.mark.parametrize('quantise', [False, True])
@pytest.mark.parametrize('neuron', INEXACT, ids=repr)
def test_openvino_fires_the_same_integers_away_from_ties(neuron, quantise):
    x = torch.randn(4 * 2, 500) * 2
    x[:, :250] = torch.randint(-3, 12, (8, 250)) * tie_of(neuron)
    (out,) = run_model(neuron_model(neuron, 2, quantise=quantise), x, 'openvino')
    worth = neuron.spike_value
    fired, less, more, theirs = (
        np.rint(values / worth).reshape(neuron.timesteps, -1)
        for values in (*(reference(neuron, x * scale) for scale in (1, 1 - 1e-5, 1 + 1e-5)), out)
    )
    sure = ((fired == less) & (fired == more)).all(0)
    assert sure.mean() > 0.5
    assert 0 < (fired[:, sure] > 0).mean() < 1
    assert np.array_equal(theirs[:, sure], fired[:, sure])
