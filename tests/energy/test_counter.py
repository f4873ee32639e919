"""What the counter counts, on cases worked by hand and on MetaSpikformer."""

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mmspike import set_timesteps
from mmspike.ann2snn import fold_batch_norms
from mmspike.backbones import MetaSpikformer
from mmspike.energy import (
    EnergyCounter,
    EnergyCounts,
    EnergyReport,
    LayerCount,
    NeuronCount,
    UncountedError,
)
from mmspike.energy.rules import fan_out_on
from mmspike.execution import SpikeDriven, set_execution
from mmspike.layers import SpikeDrivenSelfAttention, TemporalMean
from mmspike.neurons import LIF, QCFS, SFA, BaseNeuron
from mmspike.recorders.firing_rates import FiringRateRecorder
from support.held_tensors import numbers_held_by


def count(net, *inputs, **options):
    with torch.no_grad(), EnergyCounter(net, **options) as counter:
        net(*inputs)
    return counter.counts()


def lively(net, seed=0):
    """Norms that make every layer fire."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 2, 4)
            nn.init.uniform_(module.bias, 0, 1)
    return net.eval()


def test_convolution_by_hand():
    """Three spikes in a corner, one in the middle, two channels out."""
    net = nn.Sequential(SFA(D=4), nn.Conv2d(1, 2, 3, padding=1))
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 0, 0], x[0, 0, 2, 2] = 3, 1
    counts = count(net, x)
    layer = counts.layers['1']
    assert layer.sops == (3 * 4 + 1 * 9) * 2
    assert (layer.spikes, layer.inputs, layer.calls) == (4, 25, 1)
    assert layer.macs == 25 * 9 * 2
    assert layer.analog_macs == 0
    neuron = counts.neurons['0']
    assert (neuron.spikes, neuron.active, neuron.updates, neuron.max_spikes) == (4, 2, 25, 4)
    assert counts.samples == 1


def test_stride_groups_and_depthwise_by_hand():
    x = torch.ones(2, 4, 5, 5)
    for conv, sops in (
        # Every second position along each axis, one output channel per input channel.
        (nn.Conv2d(4, 4, 1, stride=2, groups=4), 2 * 4 * 9),
        # 13 connections per axis, three output channels per group of two.
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), 2 * 4 * 13**2 * 3),
        (nn.Conv2d(4, 4, 3, padding=1, groups=4), 2 * 4 * 13**2),
        (nn.Conv2d(4, 1, 3, dilation=2), 2 * 4 * 9),
    ):
        assert count(nn.Sequential(SFA(D=1), conv), x).layers['1'].sops == sops


def test_linear_with_time():
    """T is in the number of spikes; what an ANN does is not."""
    net = nn.Sequential(LIF(tau=1.0, decay_input=False), nn.Linear(3, 5))
    set_timesteps(net[0], 4)
    x = torch.tensor([[2.0, 0.0, 2.0]]).repeat(4, 1)  # one sample, four steps
    counts = count(net, x)
    layer = counts.layers['1']
    assert (layer.spikes, layer.sops, layer.inputs) == (8, 40, 12)
    assert (layer.macs, layer.macs_once) == (60, 15)
    assert counts.neurons['0'].timesteps == 4
    assert counts.mean_rate == pytest.approx(8 / 12)


@pytest.mark.parametrize('norm', [1, None, 3, 7.0])
def test_integers_count_as_many(norm):
    """Whatever a spike is worth."""
    net = nn.Sequential(SFA(D=4, norm=norm), nn.Conv1d(2, 3, 1))
    x = torch.tensor([0.0, 1, 2, 4, 3, 4, 1, 1]).view(1, 2, 4)
    assert count(net, x).layers['1'].sops == 16 * 3
    assert count(net.double(), x.double()).layers['1'].sops == 16 * 3
    assert count(net.bfloat16(), x.bfloat16()).layers['1'].sops == 16 * 3


def test_levels_with_a_learned_threshold():
    net = nn.Sequential(QCFS(levels=16, init_threshold=0.7), nn.Linear(100, 3))
    x = torch.rand(50, 100)
    with torch.no_grad():
        levels = (net[0](x) / 0.7 * 16).round().sum().item()
    assert count(net, x).layers['1'].sops == levels * 3


def test_a_large_batch_is_counted_exactly():
    """More spikes at a position than float32 can count."""
    net = nn.Sequential(SFA(D=8, norm=1), nn.Conv1d(4, 1, 1))
    x = torch.full((600_000, 4, 1), 8.0)
    x[0, 0, 0] = 7
    assert count(net, x).layers['1'].sops == 600_000 * 32 - 1


@pytest.mark.parametrize('size', [1, 7, 2039, 2040, 2041, 100_003])
@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_active_outputs(size, share):
    x = (torch.rand(2, size, 3, 2) < share) * torch.randint(1, 5, (2, size, 3, 2))
    for layout in (torch.contiguous_format, torch.channels_last):
        counts = count(nn.Sequential(SFA(D=4)), x.float().to(memory_format=layout))
        assert counts.neurons['0'].active == x.count_nonzero()
    sliced = count(nn.Sequential(SFA(D=4)), x.float()[..., 0].mT).neurons['0']
    assert sliced.active == x[..., 0].count_nonzero()


class Attention(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.q, self.k, self.v = SFA(D=4), SFA(D=4), SFA(D=4)
        self.order = order

    def forward(self, q, k, v):
        q, k, v = self.q(q), self.k(k), self.v(v)
        if self.order == 'qk':
            return (q @ k.transpose(-2, -1)) @ v
        return torch.matmul(q, k.mT @ v)


@pytest.mark.parametrize('order', ['qk', 'kv'])
def test_attention_by_hand(order):
    n, d, e = 3, 2, 4
    q, k, v = (torch.zeros(2, n, width) for width in (d, d, e))
    q[0, 0, 0], k[1, 1, 1], v[0, 2, 3] = 2, 3, 4
    counts = count(Attention(order), q, k, v)
    first, second = counts.layers['(model): product 1'], counts.layers['(model): product 2']
    if order == 'qk':
        # A spike of q selects a column of k's transpose, n long; then one of v a column of the
        # n x n map: only v still spikes.
        assert (first.sops, first.spikes, first.macs) == (2 * n, 2, 2 * n * d * n)
        assert (second.sops, second.spikes, second.macs) == (4 * n, 4, 2 * n * n * e)
    else:
        # A spike of k selects a row of v; then one of q a row of the d x e map.
        assert (first.sops, first.spikes, first.macs) == (3 * e, 3, 2 * d * n * e)
        assert (second.sops, second.spikes, second.macs) == (2 * e, 2, 2 * n * d * e)


def test_a_broadcast_side_is_counted_for_each_use():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = SFA(D=4)

        def forward(self, x, y):
            return self.neuron(x) @ y

    counts = count(Net(), torch.tensor([[1.0, 2.0]]), torch.rand(5, 2, 3))
    (layer,) = counts.layers.values()
    assert layer.sops == 3 * 3 * 5
    assert layer.spikes == 3


@pytest.mark.parametrize('timesteps', [1, 3])
def test_masks_and_sums_of_spike_driven_attention_by_force(timesteps):
    """Operation by operation, as spiking hardware would do them."""
    torch.manual_seed(0)
    cfgs = dict(neuron_cfg=dict(type='mmspike.LIF', tau=1.2), norm_cfg=dict(type='BN'))
    attn = lively(SpikeDrivenSelfAttention(8, **cfgs))
    set_timesteps(attn, timesteps)
    x = torch.randn(timesteps * 2, 8, 3, 4) * 3
    spikes = {}
    for name in ('q', 'k', 'v', 'kv_neuron'):
        getattr(attn, name).register_forward_hook(
            lambda module, inputs, out, name=name: spikes.update({name: out.detach().clone()})
        )
    counts = count(attn, x)
    counts.samples = 2
    q, k, v, mask = (spikes[name].tolist() for name in ('q', 'k', 'v', 'kv_neuron'))
    gates = additions = selected = 0
    passed = torch.zeros_like(x)
    for n in range(timesteps * 2):
        for c in range(8):
            for i in range(3):
                for j in range(4):
                    if k[n][c][i][j]:
                        gates += 1
                        additions += bool(v[n][c][i][j])
                    if q[n][c][i][j]:
                        selected += 1
                        passed[n, c, i, j] = mask[n][c][0][0]
    assert 0 < additions < gates
    assert 0 < passed.sum() < selected
    by_kind = [
        (name, layer.kind, layer.sops) for name, layer in counts.layers.items() if ':' in name
    ]
    assert by_kind == [
        ('(model): mask 1', 'mask', gates),
        ('(model): sum 2', 'sum', additions),
        ('(model): mask 3', 'mask', selected),
    ]
    # What passes the masks is what the projection takes.
    assert counts.layers['out.conv'].sops == passed.sum() * 8
    # As published: T x N x C x (sum of the rates of q, k and v).
    report = EnergyReport(counts)
    published = sum(row.sops_published for row in report.layers if ':' in row.name)
    rates = sum(spikes[name].mean().item() for name in 'qkv')
    assert published == pytest.approx(timesteps * 12 * 8 * rates)
    assert {row.input for row in report.layers} == {'spikes'}
    # The ANN multiplies and adds for k * v, and multiplies for q.
    assert sum(layer.macs_once for layer in counts.layers.values() if layer.kind != 'conv2d') == (
        2 * (12 * 8) * 2
    )


def test_a_sum_over_everything_is_no_part_of_the_network():
    class Looked(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = LIF()

        def forward(self, x):
            spikes = self.neuron(x)
            self.seen = spikes.sum()
            return spikes.sum(-1)

    counts = count(Looked(), torch.rand(2, 3) * 4)
    assert list(counts.layers) == ['(model): sum 1']


def test_analog_layers_are_macs():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(64, 2))
    counts = count(net, torch.rand(2, 3, 8, 8))
    assert counts.layers['0'].analog_macs == counts.layers['0'].macs == 2 * 16 * 4 * 27
    assert counts.layers['2'].analog_macs == 2 * 64 * 2
    assert not counts.neurons
    assert counts.mean_rate == 0


def test_a_shared_layer_adds_up_both_calls():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron, self.fc = SFA(D=4), nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(x) + self.fc(self.neuron(x))

    layer = count(Net(), torch.tensor([[1.0, 2.0]])).layers['fc']
    assert (layer.calls, layer.macs, layer.analog_macs, layer.sops) == (2, 8, 4, 6)


def test_sums_over_batches_and_stops_outside():
    net = nn.Sequential(SFA(D=4), nn.Linear(2, 2)).eval()
    x = torch.tensor([[1.0, 2.0]])
    counter = EnergyCounter(net)
    for _ in range(2):
        with counter:
            net(x)
        net(x)
    counts = counter.counts()
    assert (counts.samples, counts.layers['1'].sops, counts.layers['1'].calls) == (2, 12, 2)
    counter.reset()
    assert counter.counts().samples == 0
    assert not counter.counts().layers
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert not torch.overrides._get_current_function_mode_stack()


class Strange(nn.Module):
    """Multiplies in ways that nobody understands, and leaves a layer out."""

    def __init__(self):
        super().__init__()
        self.neuron, self.idle = SFA(D=4), nn.Linear(2, 2)
        self.norm, self.table = nn.LayerNorm(2), nn.Embedding(3, 2)

    def forward(self, x):
        x = self.neuron(x)
        x = torch.einsum('bi,ij->bj', x, torch.eye(2))
        return functional.scaled_dot_product_attention(x, x, x)


def test_what_is_not_understood_is_listed():
    counts = count(Strange(), torch.rand(3, 2))
    assert counts.uncounted == {'(model): einsum': 1, '(model): scaled_dot_product_attention': 1}
    assert counts.never_called == ['idle']


def test_strict():
    with pytest.raises(
        UncountedError, match=r'understood: \(model\): einsum, .*never called: idle'
    ):
        count(Strange(), torch.rand(3, 2), strict=True)
    with pytest.raises(ZeroDivisionError), EnergyCounter(Strange(), strict=True):
        _ = 1 / 0
    count(nn.Sequential(SFA(), nn.Linear(2, 2)), torch.rand(3, 2), strict=True)


def test_recurrent_layers_and_unknown_operators_are_listed():
    class Custom(nn.Module):
        """Stands for an operator of an extension, which no flow sees."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2))

        def forward(self, x):
            return x * self.weight.sum()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.custom, self.lstm = Custom(), nn.LSTM(2, 2)
            self.attention = nn.MultiheadAttention(2, 1)

        def forward(self, x):
            x = self.lstm(self.custom(x))[0]
            return self.attention(x, x, x)[0]

    counts = count(Net(), torch.rand(3, 1, 2))
    assert set(counts.uncounted) == {
        'custom: Custom', 'lstm: lstm', 'attention: multi_head_attention_forward'
    }  # fmt: skip
    assert not counts.never_called


def test_counts_of_a_network_are_those_of_the_recorder_and_of_torch():
    net = lively(MetaSpikformer('tiny'))
    x = torch.rand(2, 3, 64, 64)
    counts = count(net, x, strict=True)
    with torch.no_grad(), FiringRateRecorder(net) as recorder:
        net(x)
    assert counts.rates() == recorder.rates()
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        net(x)
    theirs = flops.get_flop_counts()
    for name, layer in counts.layers.items():
        if layer.kind == 'conv2d':
            assert sum(theirs[f'MetaSpikformer.{name}'].values()) == 2 * layer.macs
    assert 2 * sum(layer.macs for layer in counts.layers.values()) == flops.get_total_flops()
    assert sum(layer.kind == 'product' for layer in counts.layers.values()) == 16
    first = counts.layers['stages.0.downsample.conv']
    assert first.analog_macs == first.macs
    assert all(not one.analog_macs for one in list(counts.layers.values())[1:])


def test_the_first_convolution_runs_at_every_step():
    neuron = dict(type='mmspike.LIF')
    one, four = (
        count(
            lively(MetaSpikformer('tiny', timesteps=t, neuron_cfg=neuron, readout=True)),
            torch.rand(2, 3, 32, 32),
        )
        for t in (1, 4)
    )
    for name, layer in one.layers.items():
        assert four.layers[name].macs == 4 * layer.macs
        assert four.layers[name].macs_once == layer.macs_once
    assert four.samples == 2
    assert four.layers['stages.0.downsample.conv'].analog_macs == 4 * 2 * 16 * 16 * 12 * 147


def test_a_stock_layer_after_the_readout_runs_once():
    net = nn.Sequential(
        ConvModule(2, 2, 1, act_cfg=dict(type='mmspike.LIF')), TemporalMean(), nn.Conv2d(2, 2, 1)
    )
    set_timesteps(net, 4)
    layer = count(net, torch.rand(8, 2, 4, 4)).layers['2']
    assert layer.macs == layer.macs_once == 2 * 16 * 4


@pytest.mark.parametrize('execution', ['integer', 'spike'])
def test_results_do_not_change(execution):
    net = lively(MetaSpikformer('tiny'))
    set_execution(net, execution)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        plain = net(x)
        with EnergyCounter(net):
            counted = net(x)
    assert type(counted[0]) is torch.Tensor
    assert torch.equal(plain[0], counted[0])


def test_both_executions_count_the_same():
    """Weights are multiples of one power of two, so that sums are exact in any order."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), SFA(D=4), nn.Conv2d(8, 8, 3, stride=2), SFA(D=2, norm=1),
        nn.ConvTranspose2d(8, 4, 3, stride=2), SFA(D=4), nn.Flatten(), nn.Linear(4 * 49, 5),
    ).eval()  # fmt: skip
    for parameter in net.parameters():
        parameter.data = torch.round(parameter.data * 16) / 4
    x = torch.randint(0, 4, (2, 3, 8, 8)).float()
    counts = [count(net, x)]
    set_execution(net, 'spike')
    counts.append(count(net, x))
    set_execution(net, 'integer')
    with SpikeDriven(net):
        counts.append(count(net, x))
    with torch.no_grad(), EnergyCounter(net) as counter, SpikeDriven(net):
        net(x)
    counts.append(counter.counts())
    assert sum(layer.sops for layer in counts[0].layers.values()) > 0
    assert all(other == counts[0] for other in counts[1:])


def test_folded_norms_cost_nothing():
    net = lively(MetaSpikformer('tiny')).double()
    x = torch.rand(2, 3, 64, 64).double()
    assert count(fold_batch_norms(net), x) == count(net, x)


def test_training_counts_forward_only_and_changes_no_gradient():
    def gradients(**options):
        torch.manual_seed(0)
        net = MetaSpikformer('tiny', **options)
        x = torch.rand(2, 3, 32, 32)
        counter = EnergyCounter(net)
        if options.pop('counted', True):
            with counter:
                net(x)[0].square().mean().backward()
        return counter.counts(), [p.grad for p in net.parameters()]

    plain, with_counter = gradients()
    recomputed, _ = gradients(with_cp=True)
    assert recomputed == plain
    torch.manual_seed(0)
    net = MetaSpikformer('tiny')
    net(torch.rand(2, 3, 32, 32))[0].square().mean().backward()
    for mine, parameter in zip(with_counter, net.parameters(), strict=True):
        assert torch.equal(mine, parameter.grad)


def test_samples_of_many_kinds_of_calls():
    class Net(nn.Module):
        def forward(self, inputs, data_samples=None):
            return 0

    net = Net()
    with EnergyCounter(net) as counter:
        net(torch.rand(2, 3))
        net(inputs=torch.rand(3, 1), data_samples=[1])
        net([torch.rand(1)] * 4)
        net(dict(a='x', b=torch.rand(5, 1)))
    assert counter.samples == 14


def test_parts_add_up():
    net = lively(MetaSpikformer('tiny'))
    x = torch.rand(4, 3, 32, 32)
    whole = count(net, x)
    parts = EnergyCounts.merged([count(net, x[:1]), count(net, x[1:])])
    assert parts.samples == whole.samples
    assert parts.neurons == whole.neurons
    for name, layer in whole.layers.items():
        layer.calls = 2
        assert parts.layers[name] == layer
    # A process that saw nothing, and one whose layers another did not run.
    lazy = EnergyCounts(never_called=['a', 'b'])
    busy = EnergyCounts(
        samples=1, layers=dict(whole.layers), uncounted={'x': 1}, never_called=['a']
    )
    merged = EnergyCounts.merged([lazy, busy])
    assert merged.never_called == ['a']
    assert merged.layers == whole.layers
    assert EnergyCounts.merged([]) == EnergyCounts()


def test_inference_mode_and_channels_last():
    net = lively(MetaSpikformer('tiny'))
    x = torch.rand(2, 3, 32, 32)
    expected = count(net, x)
    with torch.inference_mode(), EnergyCounter(net) as counter:
        net(x)
    assert counter.counts() == expected
    channels_last = count(net.to(memory_format=torch.channels_last), x)
    assert channels_last.layers.keys() == expected.layers.keys()


def test_counters_inside_each_other():
    net = nn.Sequential(SFA(D=4), nn.Linear(2, 2)).eval()
    x = torch.tensor([[1.0, 2.0]])
    with EnergyCounter(net) as outer, EnergyCounter(net) as inner:
        net(x)
    assert outer.counts() == inner.counts() == count(net, x)


def test_neurons_of_a_network_are_all_there():
    net = MetaSpikformer('tiny')
    names = [name for name, m in net.named_modules() if isinstance(m, BaseNeuron)]
    assert list(EnergyCounter(net).counts().neurons) == names


def test_a_counter_keeps_little_of_every_shape():
    """A few sums. Of a shape, numbers per row and column are kept for all counters, and no map."""
    net = nn.Sequential(SFA(D=4), nn.Conv2d(2, 2, 3, padding=1, groups=2)).eval()
    counter = EnergyCounter(net)
    before, shared = numbers_held_by(counter), numbers_held_by(fan_out_on)
    for size in range(250, 260):  # sizes that no other test has
        with torch.no_grad(), counter:
            net(torch.rand(1, 2, size, 2 * size))
    rows_and_columns = sum({*range(250, 260), *range(500, 520, 2)})
    assert numbers_held_by(counter) - before < 20
    assert numbers_held_by(fan_out_on) - shared == rows_and_columns


@pytest.mark.parametrize(('shape', 'size'), [((6,), 6), ((2, 5), 5), ((4, 3, 2), 6)])
def test_the_size_of_a_layer_of_neurons_is_that_of_one_sample_and_step(shape, size):
    """Without a batch, all of them belong to one sample."""
    counts = count(nn.Sequential(LIF()), torch.ones(shape))
    assert counts.neurons['0'].size == size


def test_neurons_of_a_batch_of_nothing_fire_nothing():
    counts = count(nn.Sequential(LIF(), nn.Linear(3, 2)), torch.ones(0, 3))
    assert (counts.neurons['0'].spikes, counts.neurons['0'].active) == (0, 0)


def test_real_functions_add_up_over_calls():
    class Twice(nn.Module):
        def forward(self, x):
            return x.softmax(-1) + x.mul(2).softmax(-1)

    net = Twice()
    with EnergyCounter(net) as counter:
        net(torch.rand(2, 5))
        net(torch.rand(3, 5))
    assert counter.counts().real_functions == {'(model): softmax': 50}


def test_a_counter_that_is_opened_while_its_model_runs():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            self.counter = EnergyCounter(self)
            self.counter.__enter__()
            return self.fc(x)

    net = Inside()
    # With a hook of somebody's, torch calls those that are registered meanwhile as well.
    net.register_forward_hook(lambda module, args, out: None)
    net(torch.rand(3, 4))
    net.counter.__exit__(None, None, None)
    counts = net.counter.counts()
    assert counts.layers['fc'].macs == 3 * 4 * 2
    assert not counts.never_called


def test_neurons_that_never_ran_have_one_time_step():
    counts = EnergyCounter(nn.Sequential(SFA())).counts()
    assert counts.neurons['0'].timesteps == 1


def test_a_count_of_nothing_adds_nothing():
    layer = LayerCount(
        kind='linear', calls=1, macs=2, analog_macs=3, macs_once=4.0, inputs=5, spikes=6.0,
        sops=7.0, analog_inputs=8, outputs=9, weights=10, input_size=11, output_size=12,
    )  # fmt: skip
    assert LayerCount(kind='linear') + layer == layer
    neuron = NeuronCount(max_spikes=4, outputs_once=2.0, updates=3, spikes=4.0, active=5.0, size=6)
    assert NeuronCount() + neuron == neuron
