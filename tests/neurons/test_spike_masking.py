import copy
import math
import re
import warnings

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import PretrainedInit
from mmengine.runner.checkpoint import load_checkpoint, save_checkpoint
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmspike.neurons import (
    IF,
    LIF,
    SFA,
    BaseNeuron,
    set_stateful,
)
from mmspike.neurons.records import find_record
from support.neurons import NEURONS
from support.weights_alone import weights_alone


def masked(neuron, ratio=0.5):
    neuron.masking_ratio = ratio
    return neuron


def run(neuron, x, seed=0):
    torch.manual_seed(seed)
    return neuron(x)


def currents(*shape):
    return 4 * torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('cls', NEURONS)
def test_spikes_are_kept_as_they_are_or_dropped(cls):
    neuron, x = cls(timesteps=4), currents(8, 3, 5, 5)
    whole = neuron(x)
    out = run(masked(neuron), x)
    kept = out != 0
    assert torch.equal(out[kept], whole[kept])
    assert 0 < kept.sum() < (whole != 0).sum()
    # The rule: a uniform number above the ratio keeps a spike.
    torch.manual_seed(0)
    assert torch.equal(out, whole * (torch.rand(x.shape) > 0.5))


@pytest.mark.parametrize('ratio', [0.05, 0.25, 0.5, 0.75, 0.99])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_share_that_is_kept(ratio, dtype):
    n = 200_000
    out = run(masked(IF(timesteps=2), ratio), torch.full((n,), 1.0, dtype=dtype))
    assert out.dtype == dtype
    # Six standard deviations of a binomial distribution: one failure in 500 million.
    bound = 6 * math.sqrt(ratio * (1 - ratio) / n)
    assert abs(out.double().mean().item() - (1 - ratio)) < bound


def test_time_steps_samples_elements_and_calls_are_drawn_apart():
    neuron, x = masked(IF(timesteps=4)), torch.ones(4 * 3, 1000)
    first = run(neuron, x)
    rows = [*first, *neuron(x)]
    for i, one in enumerate(rows):
        for other in rows[:i]:
            # Independent masks at 0.5 agree in half of their places; 250 is eight deviations off.
            assert 350 < (one == other).sum() < 650


@pytest.mark.parametrize('cls', NEURONS)
def test_ratio_0_changes_nothing_and_draws_nothing(cls):
    x = currents(8, 3)
    plain, zero = cls(timesteps=4), masked(cls(timesteps=4), 0.0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(zero(x), plain(x))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ('ratio', 'error', 'message'),
    [
        (1, ValueError, r'must lie in \[0, 1\), got 1$'),
        (1.5, ValueError, 'got 1.5$'),
        (-0.1, ValueError, 'got -0.1$'),
        (math.nan, ValueError, 'got nan$'),
        (math.inf, ValueError, 'got inf$'),
        ('0.5', TypeError, r"must be a number, got '0.5' \(str\)"),
        (True, TypeError, 'got True'),
        (None, TypeError, 'got None'),
    ],
)
def test_refused_ratios(ratio, error, message):
    neuron = masked(IF(), 0.25)
    with pytest.raises(error, match=message):
        neuron.masking_ratio = ratio
    assert neuron.masking_ratio == 0.25


@pytest.mark.parametrize('cls', NEURONS)
def test_dropped_spikes_pass_no_gradient(cls):
    x = currents(8, 50)
    plain = x.clone().requires_grad_()
    weights = torch.rand(8, 50, generator=torch.Generator().manual_seed(2))
    keep = torch.rand(8, 50, generator=torch.Generator().manual_seed(0)) > 0.5
    # One step, so that no gradient reaches an element through other steps.
    (cls()(plain) * keep * weights).sum().backward()
    own = x.clone().requires_grad_()
    (run(masked(cls()), own) * weights).sum().backward()
    assert torch.equal(own.grad, plain.grad)
    assert not own.grad[~keep].any()
    assert own.grad[keep].any()


@pytest.mark.parametrize('training', [True, False])
def test_masks_hold_in_training_and_in_evaluation(training):
    neuron = masked(IF()).train(training)
    assert 0 < neuron(torch.ones(1, 100)).sum() < 100


def test_the_membrane_is_reset_by_masked_spikes_too():
    plain, neuron = (IF(stateful=True, timesteps=2) for _ in range(2))
    x = currents(4, 50)
    plain(x)
    run(masked(neuron), x)
    assert torch.equal(neuron.v, plain.v)


def test_memory_layout_does_not_change_the_mask():
    neuron, x = masked(SFA(timesteps=2)), currents(4, 3, 5, 5)
    assert torch.equal(run(neuron, x.to(memory_format=torch.channels_last)), run(neuron, x))


@pytest.mark.parametrize('reentrant', [True, False])
def test_recomputation_in_backward_draws_the_same_mask(reentrant):
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(20, 20), masked(SFA()), nn.Linear(20, 20), masked(SFA(D=2)))
    x, grads = currents(4, 20), []
    for run_block in (block, lambda x: checkpoint(block, x, use_reentrant=reentrant)):
        own = x.clone().requires_grad_()
        out = run(run_block, own)
        torch.rand(7)  # what else is drawn before backward
        (out + 1).square().sum().backward()
        grads.append(own.grad)
    assert torch.equal(*grads)
    assert grads[0].any()


def test_autocast():
    net = nn.Sequential(nn.Linear(20, 2000), masked(SFA()))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = run(net, currents(4, 20))
    assert out.dtype == torch.bfloat16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        net[1].masking_ratio = 0.0
        whole = net(currents(4, 20))
    share = (out != 0).sum() / (whole != 0).sum()
    assert 0.4 < share < 0.6


def test_compiled_in_one_graph():
    # All neurons share one forward method, which is compiled for so many of them only.
    torch._dynamo.reset()
    neuron = masked(SFA(timesteps=2), 0.75)
    compiled = torch.compile(neuron, backend='eager', fullgraph=True)
    x = currents(4, 1000)
    assert torch.equal(run(compiled, x), run(neuron, x))


def test_copies_keep_the_ratio_and_may_change_it():
    neuron = masked(IF(), 0.25)
    twin = copy.deepcopy(neuron)
    twin.masking_ratio = 0.5
    assert (neuron.masking_ratio, twin.masking_ratio) == (0.25, 0.5)
    assert 'masking_ratio=0.25' in repr(neuron)
    assert 'masking' not in repr(IF())


# --- Checkpoints --------------------------------------------------------------------------------


def network(*ratios):
    net = nn.Sequential(nn.Linear(2, 3), LIF(), nn.Linear(3, 3), SFA())
    for neuron, ratio in zip(neurons(net), ratios, strict=False):
        neuron.masking_ratio = ratio
    return net


def neurons(net):
    return [module for module in net.modules() if isinstance(module, BaseNeuron)]


def ratios(net):
    return [neuron.masking_ratio for neuron in neurons(net)]


def plain_torch(net, saved, path):
    torch.save(saved.state_dict(), path)
    net.load_state_dict(torch.load(path, weights_only=True))


def with_mmengine(net, saved, path):
    save_checkpoint(dict(state_dict=saved.state_dict(), meta={}), path)
    load_checkpoint(net, path)


def below_a_prefix(net, saved, path):
    torch.save(nn.ModuleDict({'backbone': saved}).state_dict(), path)
    PretrainedInit(path, prefix='backbone')(net)


WAYS = pytest.mark.parametrize('load', [plain_torch, with_mmengine, below_a_prefix])


@WAYS
def test_ratios_that_were_not_set_come_from_the_checkpoint(load, tmp_path):
    net = network()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load(net, network(0.25, 0.75), str(tmp_path / 'a.pth'))
        assert ratios(net) == [0.25, 0.75]
        # They were taken over, not set: another checkpoint replaces them.
        load(net, network(0.5), str(tmp_path / 'b.pth'))
    assert ratios(net) == [0.5, 0.0]


@WAYS
@pytest.mark.parametrize('saved', [(0.25, 0.25), (0.25, 0.75)])
def test_ratios_that_were_set_stay_with_one_warning_for_each(load, saved, tmp_path):
    net = network(0.5, 0.5)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('default')  # as users have it: one text once
        load(net, network(*saved), str(tmp_path / 'a.pth'))
    texts = [str(one.message) for one in seen if 'masking' in str(one.message)]
    assert len(texts) == len(set(saved))
    for text, ratio in zip(texts, saved, strict=False):
        assert re.search(rf'ratio {ratio}, .* was set to 0\.5 .*set_masking', text)
    assert ratios(net) == [0.5, 0.5]
    # Another time it is said again.
    with pytest.warns(UserWarning, match=r'ratio 0, .* set to 0\.5'):
        load(net, network(), str(tmp_path / 'b.pth'))


def test_ratios_that_are_taken_over_are_one_line_in_the_log(capsys):
    MMLogger.get_instance('masking')  # which has not said it yet
    network().load_state_dict(network(0.25, 0.75).state_dict())
    assert ''.join(capsys.readouterr()).count('take the spike masking of the checkpoint') == 1


@WAYS
def test_the_same_ratios_are_silent(load, tmp_path):
    net = network(0.25, 0.75)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load(net, network(0.25, 0.75), str(tmp_path / 'a.pth'))


def test_weights_without_a_record_say_nothing(recwarn):
    net = network(0.5)
    net.load_state_dict(weights_alone(network(0.25).state_dict()))
    assert ratios(net) == [0.5, 0.0]
    assert not recwarn


def test_no_record_without_masks():
    state_dict = network(0.5).state_dict()
    assert find_record(state_dict, '1')['masking_ratio'] == 0.5
    assert 'masking_ratio' not in find_record(state_dict, '3')


def test_stateful_chunks_are_masked_as_well():
    neuron = masked(IF(stateful=True))
    set_stateful(neuron)
    assert 0 < neuron(torch.ones(1, 100)).sum() < 100
