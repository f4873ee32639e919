"""Spike-driven execution: what it computes, and how it is switched."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModel, BaseTTAModel, MMDistributedDataParallel
from torch import nn
from torch.nn import functional

from mmspike.ann2snn import fold_batch_norms
from mmspike.execution import (
    EXECUTIONS,
    SpikeDriven,
    SpikeTrain,
    check_spike_driven,
    get_execution,
    set_execution,
)
from mmspike.execution.encodings import ENCODINGS
from mmspike.neurons import ILIF, LIF, PLIF, QCFS, SFA, set_stateful
from support.firing_networks import integers, sixteenths
from support.operands import watched_operands


def both(net, *inputs, encoding='spike'):
    """Outputs in integer and in spike-driven execution."""
    net.eval()
    with torch.no_grad():
        expected = net(*inputs)
        with SpikeDriven(net, encoding):
            return expected, net(*inputs)


# --- Worked by hand -----------------------------------------------------------------------------


class Product(nn.Module):
    def __init__(self, D, norm=1, func=torch.matmul):
        super().__init__()
        self.left, self.right = SFA(D=D, norm=norm), SFA(D=D, norm=norm)
        self.func = func

    def forward(self, x, y):
        return self.func(self.left(x), self.right(y))


@pytest.mark.parametrize(('D', 'norm'), [(1, 1), (1, 2), (1, 0.5), (2, 1), (2, 2)])
def test_what_is_not_binary_is_cut_into_slots(D, norm):
    """Two spikes of 1, one of a half and one of 2 are no binary values as they are."""
    seen = []

    class Looking(nn.Linear):
        def forward(self, x):
            return functional.linear(x, self.weight)

    net = nn.Sequential(SFA(D=D, norm=norm), Looking(3, 2, bias=False)).eval()
    x = torch.tensor([[0.0, 1.0, 2.0]])
    expected = net(x)

    class Recorder(SpikeDriven):
        def weight_layer(self, func, args, kwargs):
            def run(spikes, *rest, **options):
                seen.append(spikes)
                return func(spikes, *rest, **options)

            run.__name__ = func.__name__
            return super().weight_layer(run, args, kwargs)

    with torch.no_grad(), Recorder(net):
        torch.testing.assert_close(net(x), expected)
    assert len(seen) == D
    assert all(set(slot.unique().tolist()) <= {0, 1} for slot in seen)


def pairwise(self, func, args, kwargs):
    """What is wrong: the i-th slot of one side with the i-th slot of the other."""
    slots = zip(args[0].slots(), args[1].slots(), strict=True)
    return sum(func(a, b) for a, b in slots) * args[0].spike_value * args[1].spike_value


def test_2x2_attention_counts_all_pairs_of_slots(monkeypatch):
    left = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    right = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    expected, out = both(Product(D=3), left, right)
    assert out.tolist() == expected.tolist() == [[2, 4], [10, 2]]

    monkeypatch.setattr(SpikeDriven, 'product', pairwise)
    assert both(Product(D=3), left, right)[1].tolist() == [[1, 2], [4, 1]]


def test_the_bias_enters_once():
    net = nn.Sequential(SFA(D=4, norm=1), nn.Conv2d(1, 1, 1))
    net[1].weight.data.fill_(1.0)
    net[1].bias.data.fill_(0.5)
    expected, out = both(net, torch.tensor([[[[0.0, 1.0, 4.0]]]]))
    assert out.flatten().tolist() == expected.flatten().tolist() == [0.5, 1.5, 4.5]


@pytest.mark.parametrize(
    ('encoding', 'slots'),
    [
        ('spike', [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]),
        ('bitwise', [[0, 1, 0, 1], [0, 0, 1, 1]]),
        ('ternary', [[0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ],
)
def test_layers_take_one_slot_after_the_other(encoding, slots):
    taken = []

    def listening(x, *rest, **kwargs):
        taken.append(x.flatten().tolist())
        return functional.linear(x, *rest, **kwargs)

    net = nn.Sequential(SFA(D=3), nn.Linear(4, 1))
    spikes = SpikeTrain.of(torch.tensor([[0.0, 1.0, 2.0, 3.0]]) / 3, 1 / 3, 3)
    listening.__name__ = 'linear'
    driven = SpikeDriven(net, encoding)
    driven.weight_layer(listening, (spikes, net[1].weight, net[1].bias), {})
    assert taken == slots


@pytest.mark.parametrize('make', [LIF, PLIF, lambda: SFA(D=1), lambda: ILIF(D=1)])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_binary_neurons_are_left_alone_bit_for_bit(make, encoding):
    net = nn.Sequential(make(), nn.Conv2d(8, 16, 3, padding=1), make(), nn.Conv2d(16, 4, 3))
    expected, out = both(net, torch.randn(3, 8, 9, 9) * 3, encoding=encoding)
    assert torch.equal(out, expected)
    net = Product(D=1)
    net.left, net.right = make(), make()
    expected, out = both(net, torch.randn(5, 7) * 3, torch.randn(7, 4) * 3, encoding=encoding)
    assert torch.equal(out, expected)


# --- Exact arithmetic ---------------------------------------------------------------------------

NEURONS = st.sampled_from([SFA, ILIF])
ENCODED = st.sampled_from(list(ENCODINGS))
LAYERS = st.sampled_from(
    [
        nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d,
        nn.ConvTranspose3d, nn.Linear,
    ]
)  # fmt: skip


@st.composite
def layers(draw):
    """A layer with weights that are multiples of 1/16, and the shape of an input."""
    kind = draw(LAYERS)
    size = draw(st.integers(1, 6))
    if kind is nn.Linear:
        layer = nn.Linear(size, draw(st.integers(1, 5)), bias=draw(st.booleans()))
        shape = (*[3] * draw(st.integers(0, 2)), size)
    else:
        groups = draw(st.sampled_from([1, 2]))
        options = dict(
            kernel_size=draw(st.integers(1, 3)), stride=draw(st.integers(1, 2)),
            dilation=draw(st.integers(1, 2)), padding=draw(st.integers(0, 2)), groups=groups,
            bias=draw(st.booleans()),
        )  # fmt: skip
        transposed = 'Transpose' in kind.__name__
        if not transposed:
            options['padding_mode'] = draw(st.sampled_from(['zeros', 'circular', 'replicate']))
        layer = kind(2 * groups, groups * draw(st.integers(1, 3)), **options)
        shape = (2 * groups, *[size + 5] * int(kind.__name__[-2]))
    for parameter in layer.parameters():
        parameter.data = sixteenths(*parameter.shape)
    return layer, shape


@given(layers(), NEURONS, st.integers(1, 17), st.sampled_from([1, 4, 8]), st.integers(1, 3),
       st.integers(0, 2), ENCODED)  # fmt: skip
@settings(deadline=None, max_examples=160)
def test_layers_with_weights_are_exact(layer_and_shape, neuron, D, norm, T, batch, encoding):
    layer, shape = layer_and_shape
    net = nn.Sequential(neuron(D=D, norm=norm, timesteps=T), layer)
    expected, out = both(net, torch.randn(T * batch, *shape) * D, encoding=encoding)
    assert torch.equal(out, expected)


@given(NEURONS, st.integers(1, 6), st.sampled_from([1, 4]), st.integers(1, 3), st.booleans())
@settings(deadline=None, max_examples=30)
def test_batch_norms_behind_layers_are_exact_folded_or_not(neuron, D, norm, T, fold):
    conv, bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.0)
    conv.weight.data, conv.bias.data = sixteenths(*conv.weight.shape), sixteenths(4)
    bn.weight.data, bn.bias.data = integers(4, low=1) / 4, sixteenths(4)
    bn.running_mean, bn.running_var = sixteenths(4), 4.0 ** integers(4, low=-1, high=2)
    net = nn.Sequential(neuron(D=D, norm=norm, timesteps=T), conv, bn).eval()
    if fold:
        net = fold_batch_norms(net)
        assert isinstance(net[2], nn.Identity)
    expected, out = both(net, torch.randn(2 * T, 3, 6, 6) * D)
    assert torch.equal(out, expected)


@given(
    st.integers(1, 17), st.sampled_from([1, 4]), st.integers(1, 5), st.integers(1, 5),
    st.integers(1, 5), st.sampled_from(['matmul', '@', 'bmm', 'other side', 'one side']), ENCODED,
)  # fmt: skip
@settings(deadline=None, max_examples=120)
def test_products_are_exact(D, norm, n, d, e, how, encoding):
    numbers = sixteenths(n, d)
    func = {
        'matmul': torch.matmul,
        '@': lambda a, b: a @ b,
        'bmm': lambda a, b: torch.bmm(a[None], b[None])[0],
        'other side': lambda a, b: numbers @ b,
        'one side': lambda a, b: a @ (b * 0.25),
    }[how]
    net = Product(D, norm, func)
    expected, out = both(net, torch.randn(n, d) * D, torch.randn(d, e) * D, encoding=encoding)
    assert torch.equal(out, expected)


@pytest.mark.parametrize('neuron', [SFA, ILIF])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_ties_are_broken_in_the_same_way(neuron, encoding):
    """Every second membrane lies in the middle between two integers."""
    net = nn.Sequential(neuron(D=15, norm=1), nn.Linear(8, 64), neuron(D=15, norm=1))
    net[1].weight.data = integers(64, 8, low=-3, high=4) / 2
    net[1].bias.data = integers(64) / 2
    x = integers(32, 8, low=0, high=16).float()
    membranes = net[1](net[0](x))
    assert ((membranes % 1) == 0.5).float().mean() > 0.4
    expected, out = both(net, x, encoding=encoding)
    assert torch.equal(out, expected)
    assert out.unique().numel() == 16


@pytest.mark.parametrize('norm', [3, 5, 7])
def test_other_norms_agree_to_rounding(norm):
    net = nn.Sequential(SFA(D=7, norm=norm), nn.Conv2d(8, 8, 3), SFA(D=7, norm=norm)).double()
    expected, out = both(net, torch.randn(2, 8, 9, 9, dtype=torch.float64) * 5)
    assert torch.equal(out, expected)


def test_learned_steps_agree_to_rounding():
    net = nn.Sequential(QCFS(levels=8, init_threshold=1.7), nn.Linear(6, 5))
    expected, out = both(net, torch.randn(4, 6) * 2)
    torch.testing.assert_close(out, expected)


# --- Precisions and modes -----------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('autocast', [True, False])
def test_half_precision_is_as_good_as_in_integer_execution(dtype, autocast):
    rounding, rounding_on_spikes = rounding_of_halves(dtype, autocast, 'spike')
    assert rounding_on_spikes.max() <= 1.5 * rounding.max()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('autocast', [True, False])
@pytest.mark.parametrize('encoding', ['bitwise', 'ternary'])
def test_half_precision_of_heavier_slots_is_nearly_as_good(dtype, autocast, encoding):
    """A slot's result may be larger than the sum of all, and so is its rounding."""
    rounding, rounding_on_spikes = rounding_of_halves(dtype, autocast, encoding)
    assert rounding_on_spikes.mean() <= 1.5 * rounding.mean()


def rounding_of_halves(dtype, autocast, encoding):
    """Errors of half precision, on integers and on slots."""
    net = nn.Sequential(SFA(D=8), nn.Linear(64, 32)).eval()
    x = torch.randn(16, 64) * 8
    exact = net(x)
    if autocast:
        with torch.autocast('cpu', dtype):
            expected, out = both(net, x, encoding=encoding)
    else:
        expected, out = both(net.to(dtype), x.to(dtype), encoding=encoding)
    assert out.dtype == expected.dtype == dtype
    return (expected.float() - exact).abs(), (out.float() - exact).abs()


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_grad_modes(mode):
    net = nn.Sequential(SFA(), nn.Linear(3, 2)).eval()
    expected = net(torch.ones(4, 3))
    set_execution(net, 'spike')
    with mode():
        out = net(torch.ones(4, 3))
    torch.testing.assert_close(out, expected)
    assert not out.requires_grad


def test_empty_batches():
    net = nn.Sequential(SFA(), nn.Conv2d(3, 2, 3), SFA(), nn.Flatten(), nn.Linear(8, 2))
    expected, out = both(net, torch.zeros(0, 3, 4, 4))
    assert out.shape == expected.shape == (0, 2)


def test_streams_carry_their_state():
    net = nn.Sequential(ILIF(timesteps=2), nn.Linear(3, 2)).eval()
    x = torch.randn(8, 3)
    whole = nn.Sequential(ILIF(timesteps=8), net[1]).eval()(x)
    set_execution(net, 'spike')
    set_stateful(net)
    parts = [net(x[t : t + 2]) for t in range(0, 8, 2)]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert type(net[0].v) is torch.Tensor


# --- The switch ---------------------------------------------------------------------------------


class Model(BaseModel):
    """Tells in which execution it ran."""

    def __init__(self, fail=None):
        super().__init__()
        self.neuron = SFA(D=4)
        self.fc = nn.Linear(3, 2)
        self.fail = fail

    def forward(self, inputs, mode='tensor'):
        spikes = self.neuron(inputs)
        if self.fail:
            raise self.fail
        self.ran = 'spike' if isinstance(spikes, SpikeTrain) else 'integer'
        return dict(spikes=spikes, out=self.fc(spikes))


INPUT = torch.rand(4, 3) * 4


def ran(model, call=None):
    with torch.no_grad():
        (call or model)(INPUT)
    return model.ran


def test_the_switch_and_back():
    model = Model().eval()
    assert get_execution(model) == ran(model) == 'integer'
    for _ in range(2):
        set_execution(model, 'spike')
        assert get_execution(model) == ran(model) == 'spike'
    assert ran(model, lambda x: model.test_step(dict(inputs=x))) == 'spike'
    assert ran(model, lambda x: model.val_step(dict(inputs=x))) == 'spike'
    assert ran(model.train()) == 'integer'
    set_execution(model.eval(), 'integer')
    assert get_execution(model) == ran(model) == 'integer'
    assert 'forward' not in vars(model)


@pytest.mark.parametrize('before', EXECUTIONS)
@pytest.mark.parametrize('execution', EXECUTIONS)
def test_one_execution_follows_another(before, execution):
    net = nn.Sequential(SFA(D=3, norm=1), nn.Linear(1, 1, bias=False)).eval()
    set_execution(net, before)
    set_execution(net, execution)
    for one in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert get_execution(one) == execution
        with torch.no_grad(), watched_operands() as operands:
            one(torch.tensor([[3.0]]))
        taken = [args[0].item() for _, args, _ in operands]
        expected = dict(integer=[3], spike=[1, 1, 1], bitwise=[1, 1], ternary=[-1, 0, 1])
        assert taken == expected[execution]
    set_execution(net, 'integer')
    assert 'forward' not in vars(net)


def test_spikes_do_not_leave_the_model():
    model = Model().eval()
    set_execution(model, 'spike')
    assert {type(x) for x in model(INPUT).values()} == {torch.Tensor}


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_interrupted_calls_leave_nothing_behind(error):
    model = Model(fail=error()).eval()
    set_execution(model, 'spike')
    with pytest.raises(error):
        model(INPUT)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert type(model.neuron(INPUT)) is torch.Tensor
    model.fail = None
    assert ran(model) == 'spike'


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_switched_on_their_own(copied):
    model = Model().eval()
    set_execution(model, 'spike')
    twin = copied(model)
    assert get_execution(twin) == ran(twin) == 'spike'
    set_execution(model, 'integer')
    assert ran(twin) == 'spike'
    with torch.no_grad():
        twin.fc.weight.zero_()
    assert not torch.equal(twin(INPUT)['out'], model(INPUT)['out'])


def test_the_state_dict_knows_nothing_of_it():
    model = Model()
    keys = list(model.state_dict())
    set_execution(model, 'spike')
    assert list(model.state_dict()) == keys


def test_a_forward_that_was_replaced_before_comes_back():
    model = Model().eval()
    original, calls = model.forward, []

    def counting(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    model.forward = counting
    set_execution(model, 'spike')
    assert ran(model) == 'spike'
    set_execution(model, 'integer')
    assert model.forward is counting
    assert len(calls) == 1


def test_a_switched_part_inside_a_switched_model():
    part = nn.Sequential(nn.Linear(3, 3), SFA(D=4))
    net = nn.Sequential(part, nn.Linear(3, 2)).eval()
    for module in (part, net):
        set_execution(module, 'spike')
    net.analog_layers = ('0.0',)
    found = check_spike_driven(net, lambda: net(INPUT))
    # The part's spikes reach the layer behind it as spikes.
    assert {one.layer: one.binary for one in found} == {'0.0': False, '1': True}
    assert type(part(INPUT)) is torch.Tensor


def test_wrappers_switch_the_model_inside(tmp_path):
    class Augmented(BaseTTAModel):
        def merge_preds(self, data_samples_list):
            return data_samples_list

    model = Model().eval()
    set_execution(Augmented(module=model), 'spike')
    assert ran(model) == 'spike'
    set_execution(model, 'integer')
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        wrapper = MMDistributedDataParallel(model)
        set_execution(wrapper, 'spike')
        assert get_execution(wrapper) == get_execution(model) == 'spike'
        assert ran(model, lambda x: wrapper.test_step(dict(inputs=x))) == 'spike'
        assert ran(model, wrapper.eval()) == 'spike'
    finally:
        torch.distributed.destroy_process_group()


def test_unknown_executions():
    names = r"\('integer', 'spike', 'bitwise', 'ternary'\)"
    with pytest.raises(ValueError, match=f"execution must be one of {names}, got 'binary'"):
        set_execution(nn.Identity(), 'binary')
    with pytest.raises(ValueError, match=r"encoding must be one of .*got 'integer'"):
        SpikeDriven(nn.Identity(), 'integer')
