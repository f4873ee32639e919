"""The learned numbers of neurons: their shape, their domain, old files, and parallel training."""

import math

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

from mmspike.converters.weights import fit_to_model
from mmspike.neurons import PLIF, QCFS, SpikingQCFS
from mmspike.neurons.kernels.backend import neuron_backend
from mmspike.neurons.learned_threshold import SMALLEST_THRESHOLD
from support.weights_alone import weights_alone

LEARNED = [(PLIF, 'w'), (QCFS, 'threshold'), (SpikingQCFS, 'threshold')]
THRESHOLDS = [QCFS, SpikingQCFS]


def net(kind):
    return nn.Sequential(nn.Linear(2, 2), kind())


# --- shape --------------------------------------------------------------------------------------


@pytest.mark.parametrize(('kind', 'name'), LEARNED)
def test_learned_numbers_have_one_dimension(kind, name):
    """Sharded training (FSDP) refuses parameters without dimensions."""
    assert {key: tuple(p.shape) for key, p in kind().named_parameters()} == {name: (1,)}
    assert kind().state_dict()[name].shape == (1,)


@pytest.mark.parametrize('backend', ['auto', 'reference'])
@pytest.mark.parametrize(('kind', 'name'), LEARNED)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_its_gradient_has_its_shape_and_the_output_the_dtype_of_the_input(
    kind, name, dtype, backend
):
    neuron = kind()
    with neuron_backend(backend):
        out = neuron(torch.randn(4, 3, dtype=dtype))
    out.sum().backward()
    assert out.dtype == dtype
    assert getattr(neuron, name).grad.shape == (1,)


@pytest.mark.parametrize(('kind', 'name'), LEARNED)
def test_files_from_when_they_had_none_still_load(kind, name, tmp_path):
    old = net(kind).state_dict()
    old[f'1.{name}'] = torch.tensor(0.75)
    torch.save(old, tmp_path / 'old.pth')
    by_torch, by_mmengine = net(kind), net(kind)
    by_torch.load_state_dict(torch.load(tmp_path / 'old.pth', weights_only=True))
    load_checkpoint(by_mmengine, str(tmp_path / 'old.pth'), strict=True)
    for model in (by_torch, by_mmengine):
        assert getattr(model[1], name).tolist() == [0.75]
    assert old[f'1.{name}'].shape == ()  # what was read is not changed


@pytest.mark.parametrize(('kind', 'name'), LEARNED)
def test_converters_take_both_shapes(kind, name):
    model = net(kind)
    for shape in ((), (1,)):
        tensors = dict(model.state_dict())
        tensors[f'1.{name}'] = torch.full(shape, 0.75)
        names = {key: key for key in tensors}
        done = fit_to_model(model, names, tensors, known=[*names], unexpected=[], arch='net')
        assert done.state_dict[f'1.{name}'].tolist() == [0.75]


# --- domain -------------------------------------------------------------------------------------


@pytest.mark.parametrize('backend', ['auto', 'reference'])
@pytest.mark.parametrize('value', [0.0, -1.0, -1e30, 2.0**-30])
@pytest.mark.parametrize('kind', THRESHOLDS)
def test_a_threshold_below_the_smallest_acts_as_the_smallest(kind, value, backend):
    x = torch.tensor([[-1.0, 0.0, 1e-9, 1.0]])
    neuron, smallest = kind(), kind(init_threshold=SMALLEST_THRESHOLD)
    with torch.no_grad():
        neuron.threshold.fill_(value)
    with neuron_backend(backend):
        out, expected = neuron(x), smallest(x)
    assert torch.equal(out, expected)
    assert out.min() == 0
    assert out.isfinite().all()
    assert neuron.spike_value == smallest.spike_value > 0
    out.sum().backward()
    expected.sum().backward()
    assert torch.equal(neuron.threshold.grad, smallest.threshold.grad)


@pytest.mark.parametrize('kind', THRESHOLDS)
def test_other_thresholds_act_bit_for_bit_as_they_are(kind):
    for value in (SMALLEST_THRESHOLD, 1e-6, 0.1, 1.7, 2.0, 3e38):
        neuron = kind(init_threshold=value)
        assert neuron.positive_threshold.item() == torch.tensor(value).item()


@pytest.mark.parametrize('kind', THRESHOLDS)
def test_training_may_overshoot_and_comes_back(kind):
    """A learning rate that is far too large moves the threshold below 0; it grows again."""
    neuron = kind()
    optimizer = torch.optim.SGD(neuron.parameters(), lr=0.5)
    x, seen = torch.full((1, 8), 6.0), []
    for step in range(12):
        target = 0.0 if step < 4 else 3.0
        loss = (neuron(x) - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(neuron.threshold.item())
        assert math.isfinite(loss.item())
    assert min(seen) < 0
    assert neuron.positive_threshold > 0


@pytest.mark.parametrize('value', [0.0, -0.5])
@pytest.mark.parametrize('kind', THRESHOLDS)
def test_thresholds_of_files_are_checked(kind, value):
    saved = net(kind)
    with torch.no_grad():
        saved[1].threshold.fill_(value)
    # Of another project: without the record of a neuron.
    with pytest.raises(ValueError, match=rf'1.threshold is {value} .* must be above 0'):
        net(kind).load_state_dict(weights_alone(saved.state_dict()))
    # Of a training that overshot, which may be resumed as it was.
    model = net(kind)
    with pytest.warns(UserWarning, match=r'1\.threshold is .* acts as 5\.96046e-08'):
        model.load_state_dict(saved.state_dict())
    assert model[1].threshold.item() == value


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(('kind', 'name'), LEARNED)
def test_what_diverged_is_not_loaded(kind, name, value):
    saved = net(kind)
    with torch.no_grad():
        getattr(saved[1], name).fill_(value)
    with pytest.raises(ValueError, match=rf'1\.{name} is {value} .* diverged'):
        net(kind).load_state_dict(saved.state_dict())


def test_a_decay_that_vanished_is_an_infinite_time_constant():
    neuron = PLIF()
    with torch.no_grad():
        neuron.w.fill_(-200.0)
    assert neuron.tau == math.inf


def test_loading_of_shapes_alone():
    with torch.device('meta'):
        model, saved = net(QCFS), net(QCFS)
    model.load_state_dict(saved.state_dict(), assign=True)
