"""Connections per input, by hand and against a loop over every connection."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mmspike.energy import EnergyCounter
from mmspike.energy.fan_out import Axis, axis_fan_out, connections
from mmspike.execution.spike_train import SpikeTrain


def test_by_hand():
    def fan_out(size, kernel, stride=1, dilation=1, padding=0, **kwargs):
        axis = Axis(size, kernel, stride, dilation, padding, padding, **kwargs)
        return axis_fan_out(axis).tolist()

    assert fan_out(5, 3, padding=1) == [2, 3, 3, 3, 2]
    assert fan_out(5, 3) == [1, 2, 3, 2, 1]
    assert fan_out(5, 3, stride=2, padding=1) == [1, 2, 1, 2, 1]
    # A 1x1 convolution of stride 2 never sees every second input.
    assert fan_out(5, 1, stride=2) == [1, 0, 1, 0, 1]
    # Two more at the end than the windows reach.
    assert fan_out(7, 3, stride=3) == [1, 1, 1, 1, 1, 1, 0]
    assert fan_out(5, 3, dilation=2, padding=2) == [2, 2, 3, 2, 2]
    assert fan_out(3, 5, padding=1) == [1, 1, 1]
    assert fan_out(3, 4, stride=2, padding=1, transposed=True) == [3, 4, 3]
    assert fan_out(3, 3, stride=2, padding=1, transposed=True, extra=1) == [2, 3, 3]
    assert fan_out(2, 5) == [0, 0]


def test_axis_of_torch():
    """Output sizes are those of torch."""
    for size, k, s, d, p in product((5, 8), (1, 3, 4), (1, 2, 3), (1, 2), (0, 1)):
        if size + 2 * p < d * (k - 1) + 1:
            continue
        out = functional.conv1d(
            torch.zeros(1, 1, size), torch.zeros(1, 1, k), stride=s, padding=p, dilation=d
        )
        assert Axis(size, k, s, d, p, p).outputs == out.shape[-1]
        if d * (k - 1) + 1 < 2 * p + 1:
            continue
        back = functional.conv_transpose1d(
            torch.zeros(1, 1, size), torch.zeros(1, 1, k), stride=s, padding=p, dilation=d
        )
        assert Axis(size, k, s, d, p, p, True).outputs == back.shape[-1]


class Called(torch.nn.Module):
    """A function of spikes that are given."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(SpikeTrain.of(x, 0.5, 3))


def counted(call, x):
    """Exact operations of a function on an input that holds 0, 1, 2 or 3 spikes."""
    net = Called(call)
    with EnergyCounter(net) as counter:
        out = net(x / 2)
    (layer,) = counter.counts().layers.values()
    assert layer.spikes == x.sum()
    assert layer.inputs == x.numel()
    assert layer.outputs == out.numel()
    return layer, out


SIZES = st.integers(1, 6)
OPTIONS = st.fixed_dictionaries(
    dict(
        sizes=st.lists(SIZES, min_size=1, max_size=3),
        kernels=st.lists(st.integers(1, 3), min_size=3, max_size=3),
        strides=st.lists(st.integers(1, 3), min_size=3, max_size=3),
        dilations=st.lists(st.integers(1, 2), min_size=3, max_size=3),
        paddings=st.lists(st.integers(0, 2), min_size=3, max_size=3),
        groups=st.integers(1, 2),
        channels=st.tuples(st.integers(1, 2), st.integers(1, 2)),
        batch=st.integers(1, 2),
        seed=st.integers(0, 1000),
    )
)


def spikes_of(seed, shape):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 4, shape)).float()


@settings(max_examples=150, deadline=None)
@given(OPTIONS)
def test_convolutions_against_every_connection(o):
    dims = len(o['sizes'])
    k, s, d, p = (o[key][:dims] for key in ('kernels', 'strides', 'dilations', 'paddings'))
    outs = [
        (size + 2 * b - dd * (a - 1) - 1) // c + 1
        for size, a, c, dd, b in zip(o['sizes'], k, s, d, p, strict=True)
    ]
    assume(min(outs) > 0)
    assume(
        all(size + 2 * b > dd * (a - 1) for size, a, dd, b in zip(o['sizes'], k, d, p, strict=True))
    )
    ins, per = o['channels'][0], o['channels'][1]
    x = spikes_of(o['seed'], (o['batch'], ins * o['groups'], *o['sizes']))
    weight = torch.ones(per * o['groups'], ins, *k)
    conv = getattr(functional, f'conv{dims}d')
    layer, out = counted(lambda t: conv(t, weight, None, s, p, d, o['groups']), x)
    expected = 0.0
    for position in product(*map(range, outs)):
        for offset in product(*map(range, k)):
            at = [
                i * c + f * dd - b for i, f, c, dd, b in zip(position, offset, s, d, p, strict=True)
            ]
            if all(0 <= a < size for a, size in zip(at, o['sizes'], strict=True)):
                expected += x[(slice(None), slice(None), *at)].sum().item() * per
    assert layer.sops == expected
    # With weights of one, the outputs add up to as much.
    assert layer.sops == out.double().sum().item() * 2
    assert layer.macs == out.numel() * ins * int(np.prod(k))


@settings(max_examples=120, deadline=None)
@given(OPTIONS, st.booleans())
def test_transposed_convolutions_against_every_connection(o, extra):
    dims = len(o['sizes'])
    k, s, d, p = (o[key][:dims] for key in ('kernels', 'strides', 'dilations', 'paddings'))
    more = [int(extra and max(c, dd) > 1) for c, dd in zip(s, d, strict=True)]
    outs = [
        (size - 1) * c - 2 * b + dd * (a - 1) + 1 + m
        for size, a, c, dd, b, m in zip(o['sizes'], k, s, d, p, more, strict=True)
    ]
    assume(min(outs) > 0)
    ins, per = o['channels'][0], o['channels'][1]
    x = spikes_of(o['seed'], (o['batch'], ins * o['groups'], *o['sizes']))
    weight = torch.ones(ins * o['groups'], per, *k)
    conv = getattr(functional, f'conv_transpose{dims}d')
    layer, out = counted(lambda t: conv(t, weight, None, s, p, more, o['groups'], d), x)
    expected = 0.0
    for position in product(*map(range, o['sizes'])):
        for offset in product(*map(range, k)):
            at = [
                i * c + f * dd - b for i, f, c, dd, b in zip(position, offset, s, d, p, strict=True)
            ]
            if all(0 <= a < size for a, size in zip(at, outs, strict=True)):
                expected += x[(slice(None), slice(None), *position)].sum().item() * per
    assert layer.sops == expected == out.double().sum().item() * 2
    assert layer.macs == x.numel() * per * int(np.prod(k))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 99))
def test_linear_layers_against_every_connection(shape, outputs, seed):
    x = spikes_of(seed, shape)
    layer, out = counted(lambda t: functional.linear(t, torch.ones(outputs, shape[-1])), x)
    assert layer.sops == sum(value * outputs for value in x.flatten().tolist())
    assert layer.sops == out.sum().item() * 2
    assert layer.macs == x.numel() * outputs


@pytest.mark.parametrize('padding', ['same', 'valid'])
@pytest.mark.parametrize('kernel', [2, 3, 4])
def test_padding_by_name(padding, kernel):
    x = spikes_of(0, (2, 3, 8, 9))
    weight = torch.ones(4, 3, kernel, kernel)
    layer, out = counted(
        lambda t: functional.conv2d(input=t, weight=weight, padding=padding, dilation=2), x
    )
    assert layer.sops == out.sum().item() * 2
    assert layer.macs == out.numel() * 3 * kernel**2


def test_without_a_batch():
    x = spikes_of(0, (3, 7, 6))
    layer, out = counted(lambda t: functional.conv2d(t, torch.ones(4, 3, 3, 3), stride=2), x)
    assert layer.sops == out.sum().item() * 2


def test_no_samples():
    layer, _ = counted(
        lambda t: functional.conv2d(t, torch.ones(4, 3, 3, 3)), torch.zeros(0, 3, 5, 5)
    )
    assert layer.sops == layer.macs == 0


@pytest.mark.parametrize('batch', [(), (7,)])
@pytest.mark.parametrize('dims', [1, 2, 3])
@pytest.mark.parametrize('kind', ['conv', 'conv_transpose'])
def test_where_channels_stand_and_how_many_outputs_there_are(kind, dims, batch):
    x, weight = torch.ones(*batch, 4, *[5] * dims), torch.ones(4, 4, *[2] * dims)
    name = f'{kind}{dims}d'
    links = connections(name, (x, weight), {})
    out = getattr(functional, name)(x, weight)
    assert links.channel_dim == len(batch)
    assert links.outputs == out.numel()
    assert links.outputs_per_input == 4
