import copy
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmspike.neurons import (
    IF,
    ILIF,
    LIF,
    PLIF,
    QCFS,
    SFA,
    BaseNeuron,
    set_stateful,
)
from mmspike.neurons.records import find_record
from support.neurons import NEURONS, WITH_MEMORY, WITHOUT_MEMORY

VARIANTS = [
    (IF, dict(v_reset=None)),
    (IF, dict(v_reset=0.25, detach_reset=False)),
    (LIF, dict(tau=3.0)),
    (LIF, dict(v_reset=None, decay_input=False, detach_reset=False)),
    (PLIF, dict(init_tau=1.5)),
    (PLIF, dict(v_reset=-0.5, decay_input=False, surrogate='atan')),
    (SFA, dict()),
    (ILIF, dict()),
    (ILIF, dict(norm=None, detach_reset=False, rounding='half_up', grad_window='strict')),
    (QCFS, dict(levels=4)),
]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def noise(*shape, dtype=torch.float32, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def small_model(**neuron_cfg) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), LIF(**neuron_cfg), nn.Linear(4, 2))


# Time: one call, chunks, and separate calls


def run_in_chunks(neuron, x, lengths, batch):
    outputs, start = [], 0
    for length in lengths:
        neuron.timesteps = length
        outputs.append(neuron(x[start * batch : (start + length) * batch]))
        start += length
    return torch.cat(outputs)


LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**31 - 1)


@given(st.sampled_from(VARIANTS), LENGTHS, st.sampled_from(DTYPES), SEEDS)
@settings(deadline=None, max_examples=40)
def test_chunks_give_the_output_and_state_of_one_call(variant, lengths, dtype, seed):
    cls, options = variant
    x = noise(sum(lengths) * 2, 3, dtype=dtype, seed=seed)
    whole = cls(timesteps=sum(lengths), stateful=True, **options)
    chunked = cls(stateful=True, **options)
    assert torch.equal(whole(x), run_in_chunks(chunked, x, lengths, batch=2))
    if cls not in WITHOUT_MEMORY:
        assert torch.equal(whole.v, chunked.v)


@given(st.sampled_from(VARIANTS), LENGTHS, SEEDS)
@settings(deadline=None, max_examples=40)
def test_chunks_give_the_gradients_of_one_call(variant, lengths, seed):
    cls, options = variant
    T = sum(lengths)
    data = noise(T * 2, 3, dtype=torch.float64, seed=seed)
    weights = noise(T * 2, 3, dtype=torch.float64, seed=seed + 1)
    results = []
    for parts in ([T], lengths):
        neuron = cls(stateful=True, **options).double()
        x = data.clone().requires_grad_()
        loss = (run_in_chunks(neuron, x, parts, batch=2) * weights).sum()
        if cls not in WITHOUT_MEMORY:
            loss = loss + neuron.v.square().sum()
        loss.backward()
        results.append([x.grad, *(parameter.grad for parameter in neuron.parameters())])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('cls', WITH_MEMORY)
def test_a_stateful_stream_depends_on_its_past(cls):
    steps = noise(20, 3)
    neuron = cls(stateful=True)
    stream = torch.stack([neuron(step[None])[0] for step in steps])
    separate = cls()(steps)
    assert torch.equal(stream[0], separate[0])
    assert not torch.equal(stream, separate)


@pytest.mark.parametrize(('cls', 'options'), VARIANTS)
def test_nothing_leaks_between_batches_by_default(cls, options):
    neuron = cls(timesteps=7, **options)
    x = noise(14, 3)
    before = neuron(x)
    neuron(noise(14, 3, seed=1, scale=10))
    neuron(noise(35, 2, seed=2))
    assert torch.equal(neuron(x), before)
    assert neuron.v == (options.get('v_reset') or 0)


@pytest.mark.parametrize(('cls', 'options'), VARIANTS)
def test_samples_and_elements_do_not_mix(cls, options):
    neuron = cls(timesteps=4, **options)
    x = noise(4 * 3, 2)
    changed = x.clone()
    changed.view(4, 3, 2)[:, 1, 0] += 5
    differs = (neuron(x) != neuron(changed)).view(4, 3, 2)
    assert differs[:, 1, 0].any()
    assert not differs[:, [0, 2]].any()
    assert not differs[:, 1, 1].any()


@pytest.mark.parametrize(('cls', 'options'), VARIANTS)
def test_the_past_does_not_depend_on_the_future(cls, options):
    neuron = cls(timesteps=4, **options)
    x = noise(4, 5)
    assert torch.equal(neuron(torch.cat([x[:2], x[2:] + 3]))[:2], neuron(x)[:2])


@pytest.mark.parametrize('cls', WITH_MEMORY)
def test_reset_puts_a_stream_back_to_rest(cls):
    neuron = cls(timesteps=2, stateful=True)
    x = noise(4, 3)
    first, state = neuron(x), neuron.v
    neuron(noise(4, 3, seed=1))
    neuron.reset()
    assert torch.equal(neuron(x), first)
    assert torch.equal(neuron.v, state)


@pytest.mark.parametrize('cls', WITH_MEMORY)
def test_another_batch_shape_needs_a_reset(cls):
    neuron = cls(timesteps=2, stateful=True)
    neuron(torch.zeros(4, 3))
    message = rf'{cls.__name__} carries .* shape \(2, 3\), the input .* shape \(5, 3\).*reset_net'
    with pytest.raises(ValueError, match=message):
        neuron(torch.zeros(10, 3))
    neuron.reset()
    assert neuron(torch.zeros(10, 3)).shape == (10, 3)


def test_set_stateful_reaches_every_neuron_and_starts_from_rest():
    model = nn.Sequential(LIF(), nn.Sequential(nn.Linear(3, 3), ILIF()), nn.ModuleDict({'n': IF()}))
    neurons = [module for module in model.modules() if isinstance(module, BaseNeuron)]
    assert len(neurons) == 3
    set_stateful(model)
    for neuron in neurons:
        neuron(torch.full((1, 3), 0.3))
        assert isinstance(neuron.v, torch.Tensor)
    set_stateful(model)
    assert [(neuron.stateful, neuron.v) for neuron in neurons] == [(True, 0.0)] * 3
    set_stateful(model, False)
    assert not any(neuron.stateful for neuron in neurons)


def test_a_membrane_left_by_a_stream_does_not_count_once_stateless():
    neuron = IF(stateful=True)
    neuron(torch.full((1, 1), 0.9))
    neuron.stateful = False
    assert neuron(torch.full((1, 1), 0.9)).item() == 0
    assert neuron(torch.full((5, 2), 0.9)).sum() == 0


def test_state_of_one_stream_does_not_wait_for_the_next():
    neuron = IF(stateful=True)
    neuron(torch.full((1, 1), 0.9))
    set_stateful(neuron, False)
    set_stateful(neuron, True)
    assert neuron(torch.full((1, 1), 0.9)).item() == 0


# Shapes, dtypes, layouts


@pytest.mark.parametrize(('cls', 'options'), VARIANTS)
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('T', [1, 2, 7])
def test_output_has_the_input_dtype_and_the_membrane_at_least_float32(cls, options, dtype, T):
    neuron = cls(timesteps=T, stateful=True, **options)
    x = noise(T * 2, 3, 4, dtype=dtype).requires_grad_()
    out = neuron(x)
    out.sum().backward()
    assert (out.dtype, out.shape) == (dtype, x.shape)
    assert (x.grad.dtype, x.grad.shape) == (dtype, x.shape)
    if cls not in WITHOUT_MEMORY:
        assert neuron.v.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert neuron.v.shape == (2, 3, 4)


@pytest.mark.parametrize(('cls', 'options'), VARIANTS)
@pytest.mark.parametrize('shape', [(0, 3), (6, 0), (0, 3, 8, 8)])
def test_nothing_in_nothing_out(cls, options, shape):
    neuron = cls(timesteps=3, **options)
    x = torch.zeros(shape, requires_grad=True)
    out = neuron(x)
    out.sum().backward()
    assert out.shape == shape
    assert x.grad.shape == shape


def transposed(x):
    return x.t().contiguous().t()


def every_second(x):
    return x.repeat_interleave(2, 1)[:, ::2]


def every_second_row(x):
    return x.repeat_interleave(2, 0)[::2]


@pytest.mark.parametrize(('cls', 'options'), VARIANTS)
@pytest.mark.parametrize('layout', [transposed, every_second, every_second_row])
def test_memory_layout_does_not_matter(cls, options, layout):
    neuron = cls(timesteps=3, **options)
    x = noise(6, 4)
    view = layout(x)
    assert not view.is_contiguous()
    assert torch.equal(neuron(view), neuron(x))


@pytest.mark.parametrize('cls', NEURONS)
def test_channels_last_and_expanded_inputs(cls):
    neuron = cls(timesteps=2)
    maps = noise(4, 3, 5, 5)
    assert torch.equal(neuron(maps.to(memory_format=torch.channels_last)), neuron(maps))
    row = noise(1, 3)
    assert torch.equal(neuron(row.expand(4, 3)), neuron(row.repeat(4, 1)))


@pytest.mark.parametrize('cls', NEURONS)
@pytest.mark.parametrize('inplace', [False, True])
def test_the_input_is_never_changed(cls, inplace):
    x = noise(4, 3)
    kept = x.clone()
    cls(timesteps=2, inplace=inplace)(x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize(('cls', 'options'), VARIANTS)
def test_outputs_are_whole_numbers_of_spikes(cls, options):
    neuron = cls(timesteps=7, **options)
    counts = neuron(noise(7, 50, dtype=torch.float64)) / neuron.spike_value
    assert torch.equal(counts, counts.round())
    assert counts.min() == 0
    assert 1 <= counts.max() <= (4 if cls in (SFA, ILIF, QCFS) else 1)


# Time steps and other options that are wrong


@pytest.mark.parametrize('cls', NEURONS)
@pytest.mark.parametrize('value', [0, -3])
def test_too_few_timesteps(cls, value):
    message = f'timesteps must be at least 1, got {value}$'
    with pytest.raises(ValueError, match=message):
        cls(timesteps=value)
    neuron = cls(timesteps=5)
    with pytest.raises(ValueError, match=message):
        neuron.timesteps = value
    assert neuron.timesteps == 5


@pytest.mark.parametrize('cls', NEURONS)
@pytest.mark.parametrize('value', [2.0, '2', None, True, torch.tensor(2)])
def test_timesteps_that_are_no_integer(cls, value):
    message = re.escape(f'timesteps must be an int, got {value!r} ({type(value).__name__})')
    with pytest.raises(TypeError, match=message):
        cls(timesteps=value)
    neuron = cls(timesteps=5)
    with pytest.raises(TypeError, match=message):
        neuron.timesteps = value
    assert neuron.timesteps == 5


@pytest.mark.parametrize('cls', NEURONS)
def test_a_batch_that_is_no_multiple_of_t(cls):
    with pytest.raises(ValueError, match=r'shape \(5, 3\) cannot hold 2 time steps.*T=2.*set_time'):
        cls(timesteps=2)(torch.zeros(5, 3))


def test_a_scalar_holds_no_time_steps():
    with pytest.raises(ValueError, match=r'shape \(\) cannot hold 1 time steps'):
        IF()(torch.tensor(1.0))


@pytest.mark.parametrize('cls', NEURONS)
@pytest.mark.parametrize('value', ['ignore', None, True])
def test_unknown_on_mismatch(cls, value):
    with pytest.raises(ValueError, match=f"must be 'error' or 'warn', got {value!r}"):
        cls(on_mismatch=value)


def test_an_unknown_option_is_not_swallowed():
    with pytest.raises(TypeError, match='treshold'):
        IF(treshold=1.0)


def test_a_copy_has_its_own_state_and_record():
    neuron = IF(threshold=2.0, stateful=True, timesteps=2)
    with torch.no_grad():
        neuron(torch.full((2, 1), 0.5))
    twin = copy.deepcopy(neuron)
    neuron.reset()
    assert twin.v.item() == 1.0
    assert twin(torch.full((2, 1), 0.5)).tolist() == [[0], [1]]
    assert neuron.v == 0.0
    twin.threshold = 3.0
    assert find_record(twin.state_dict(), '')['neuron']['threshold'] == 3.0
    assert find_record(neuron.state_dict(), '')['neuron']['threshold'] == 2.0


def test_a_membrane_set_from_outside_is_where_a_stream_begins():
    neuron = IF(stateful=True)
    neuron.v = 0.5
    assert neuron(torch.tensor([[0.5, 0.4]])).tolist() == [[1, 0]]
    assert neuron.v.flatten().tolist() == pytest.approx([0, 0.9])
    neuron.reset()
    assert neuron(torch.tensor([[0.5, 0.4]])).tolist() == [[0, 0]]
