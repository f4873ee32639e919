import copy
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mmspike
from mmspike.layers import DropPath, TemporalMean
from mmspike.neurons import IF, ILIF, LIF
from mmspike.temporal import (
    TemporalModule,
    check_timesteps,
    encode_input,
    fold_time,
    get_timesteps,
    init_timesteps,
    set_timesteps,
    steps_of_work,
    unfold_time,
    work_of_steps,
)
from support.threads import in_thread

NOT_INTEGERS = [1.0, '1', None, True, False, torch.tensor(1), [1]]
NOT_POSITIVE = [0, -1, -100]


def model():
    return nn.Sequential(
        nn.Linear(2, 2), LIF(), nn.Sequential(ILIF(), DropPath(0.5)), TemporalMean()
    )


@pytest.mark.parametrize('timesteps', [1, 2, 500])
def test_check_timesteps_returns_what_it_accepts(timesteps):
    assert check_timesteps(timesteps) == timesteps


@pytest.mark.parametrize('value', NOT_INTEGERS)
def test_check_timesteps_wants_an_integer(value):
    message = re.escape(f'timesteps must be an int, got {value!r} ({type(value).__name__})')
    with pytest.raises(TypeError, match=message):
        check_timesteps(value)


@pytest.mark.parametrize('value', NOT_POSITIVE)
def test_check_timesteps_wants_at_least_one(value):
    with pytest.raises(ValueError, match=f'timesteps must be at least 1, got {value}$'):
        check_timesteps(value)


# Folding


def test_rows_are_time_major():
    x = torch.arange(6)  # row t * B + b with T = 3, B = 2
    assert unfold_time(x, 3).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert unfold_time(x, 2).tolist() == [[0, 1, 2], [3, 4, 5]]


@given(st.integers(1, 5), st.integers(0, 4), st.lists(st.integers(0, 3), max_size=3), st.booleans())
@settings(deadline=None, max_examples=30)
def test_fold_undoes_unfold(T, B, rest, contiguous):
    x = torch.randn(T * B, *rest)
    if not contiguous:
        x = torch.randn(*rest, T * B).movedim(-1, 0)
    sequence = unfold_time(x, T)
    assert sequence.shape == (T, B, *rest)
    assert torch.equal(fold_time(sequence), x)
    for t in range(T):
        assert torch.equal(sequence[t], x[t * B : (t + 1) * B])


def test_unfolding_copies_nothing():
    x = torch.zeros(4, 3)
    unfold_time(x, 2)[1, 0] = 1
    assert x.sum(1).tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize(('shape', 'T'), [((5, 2), 2), ((3,), 4), ((1, 8), 2), ((), 1)])
def test_unfolding_a_size_that_is_no_multiple(shape, T):
    message = re.escape(f'shape {shape} cannot hold {T} time steps') + f'.*a multiple of T={T}'
    with pytest.raises(ValueError, match=message):
        unfold_time(torch.zeros(shape), T)


# Network inputs


def test_images_are_repeated_at_every_step():
    images = torch.randn(2, 3, 4, 5)
    folded = encode_input(images, 3)
    assert folded.shape == (6, 3, 4, 5)
    for t in range(3):
        assert torch.equal(unfold_time(folded, 3)[t], images)


def test_one_step_leaves_images_as_they_are():
    images = torch.randn(2, 3, 4, 5)
    assert encode_input(images, 1) is images  # no copy


@pytest.mark.parametrize(('T', 'B'), [(1, 2), (3, 2), (4, 0)])
def test_frames_are_folded_time_major(T, B):
    frames = torch.randn(B, T, 2, 4, 5)
    folded = encode_input(frames, T)
    assert folded.shape == (T * B, 2, 4, 5)
    for t in range(T):
        for b in range(B):
            assert torch.equal(folded[t * B + b], frames[b, t])


@pytest.mark.parametrize('shape', [(3, 4, 5), (4,), (1, 1, 1, 1, 1, 1)])
def test_inputs_that_are_neither_images_nor_frames(shape):
    with pytest.raises(ValueError, match=re.escape(f'got shape {shape}')):
        encode_input(torch.zeros(shape), 1)


def test_another_number_of_frames_than_steps():
    message = r'holds 8 frames .*\(2, 8, 1, 4, 4\).* runs T=4 steps; .*\(model, 8\) or load 4'
    with pytest.raises(ValueError, match=message):
        encode_input(torch.zeros(2, 8, 1, 4, 4), 4)


# T of a whole model


def test_set_timesteps_reaches_every_temporal_module():
    net = model()
    set_timesteps(net, 3)
    temporal = [module for module in net.modules() if isinstance(module, TemporalModule)]
    assert [module.timesteps for module in temporal] == [3] * 4
    assert get_timesteps(net) == 3


def test_one_step_is_the_default():
    assert get_timesteps(model()) == 1


def test_set_timesteps_on_a_lone_neuron():
    neuron = IF()
    set_timesteps(neuron, 5)
    assert neuron.timesteps == get_timesteps(neuron) == 5


def test_each_module_keeps_its_own_number():
    first, second = IF(timesteps=2), IF()
    assert (first.timesteps, second.timesteps) == (2, 1)


def test_modules_that_disagree():
    net = nn.Sequential(IF(timesteps=4), IF(timesteps=2), IF(timesteps=4))
    message = r'Sequential run different numbers of time steps: \[2, 4\]; call mmspike.set_times'
    with pytest.raises(ValueError, match=message):
        get_timesteps(net)


def test_a_part_behind_a_read_out_runs_one_step_whatever_the_model_runs():
    behind = nn.Sequential(IF(), IF())
    init_timesteps(behind, None)
    net = nn.ModuleList([IF(), behind])
    set_timesteps(net, 4)
    assert [module.timesteps for module in (net[0], *behind)] == [4, 1, 1]
    assert get_timesteps(net) == 4
    assert get_timesteps(behind) == 1
    set_timesteps(behind, 1)
    with pytest.raises(ValueError, match='built with timesteps=None: it stands behind a read-out'):
        set_timesteps(behind, 2)
    copied = copy.deepcopy(net)
    set_timesteps(copied, 2)
    assert [module.timesteps for module in (copied[0], *copied[1])] == [2, 1, 1]
    # A head that is built around such a part leaves it as it is.
    init_timesteps(net, 3)
    set_timesteps(net, 5)
    assert [module.timesteps for module in (net[0], *behind)] == [5, 1, 1]


@pytest.mark.parametrize('call', [lambda net: set_timesteps(net, 2), get_timesteps])
def test_a_model_without_spiking_modules(call):
    with pytest.raises(ValueError, match='Linear contains no spiking module'):
        call(nn.Linear(2, 2))


@pytest.mark.parametrize('value', NOT_INTEGERS)
def test_set_timesteps_wants_an_integer(value):
    net = model()
    with pytest.raises(TypeError, match=re.escape(f'got {value!r} ({type(value).__name__})')):
        set_timesteps(net, value)
    assert get_timesteps(net) == 1


@pytest.mark.parametrize('value', NOT_POSITIVE)
def test_set_timesteps_wants_at_least_one(value):
    net = model()
    with pytest.raises(ValueError, match=f'at least 1, got {value}$'):
        set_timesteps(net, value)
    assert get_timesteps(net) == 1


def test_the_package_offers_both_functions():
    assert mmspike.set_timesteps is set_timesteps
    assert mmspike.get_timesteps is get_timesteps


def test_work_of_steps_holds_in_its_block_and_the_innermost_counts():
    neuron = IF(timesteps=4)
    assert (steps_of_work(), neuron.total_timesteps) == (None, 4)
    with work_of_steps(3):
        with work_of_steps(1):
            assert (steps_of_work(), neuron.total_timesteps) == (1, 1)
        assert neuron.total_timesteps == 3
    assert (steps_of_work(), neuron.total_timesteps) == (None, 4)


def test_work_of_steps_ends_with_an_exception():
    with pytest.raises(KeyboardInterrupt), work_of_steps(3):
        raise KeyboardInterrupt
    assert steps_of_work() is None


def test_work_of_steps_is_not_seen_by_other_threads():
    with work_of_steps(3):
        assert in_thread(steps_of_work) is None


def test_work_of_steps_compiles_to_nothing():
    neuron = IF(timesteps=2)

    def run(x):
        with work_of_steps(1):
            return neuron(x)

    x = torch.rand(2, 3)
    compiled = torch.compile(run, fullgraph=True, backend='eager')
    assert torch.equal(compiled(x), neuron(x))
