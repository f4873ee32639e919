import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.necks import FPN
from torch import nn

from mmspike import get_timesteps
from mmspike.necks import SpikeFPN
from mmspike.neurons import BaseNeuron

WIDTHS = [4, 6, 8, 10]


def maps(batch=2, sizes=(32, 16, 8, 8), widths=WIDTHS, ratio=None):
    """Inputs, one column wider than high; with ``ratio`` so many times as wide as high."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(batch, width, size, size * ratio if ratio else size + 1, generator=generator)
        for width, size in zip(widths, sizes, strict=True)
    )


class Passing(BaseNeuron):
    """Hands on what it gets."""

    spike_value = 1.0

    def fire(self, x, v):
        return x, None

    def describe(self):
        return dict(type='Passing')


def without_neurons(neck):
    for module in neck.modules():
        for name, child in module.named_children():
            if isinstance(child, BaseNeuron):
                setattr(module, name, Passing())
    return neck


@st.composite
def stock_options(draw):
    """Options of mmdet's FPN, any that it accepts for four inputs."""
    start = draw(st.integers(0, 3))
    end = draw(st.sampled_from([-1, *range(start, 4)]))
    used = (4 if end == -1 else end + 1) - start
    extra = draw(st.integers(0, 2)) if end in (-1, 3) else 0
    upsample = st.sampled_from(
        [
            dict(mode='nearest'),
            dict(mode='bilinear', align_corners=False),
            dict(scale_factor=2),
            dict(scale_factor=2, mode='bilinear', align_corners=True),
        ]
    )
    return dict(
        start_level=start,
        end_level=end,
        num_outs=used + extra,
        add_extra_convs=draw(st.sampled_from([False, True, 'on_input', 'on_lateral', 'on_output'])),
        relu_before_extra_convs=draw(st.booleans()),
        no_norm_on_lateral=draw(st.booleans()),
        norm_cfg=draw(st.sampled_from([None, dict(type='BN')])),
        upsample_cfg=draw(upsample),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(options=stock_options(), halves=st.booleans())
def test_without_neurons_it_is_the_stock_pyramid(options, halves):
    stock = FPN(WIDTHS, 8, **options).eval()
    ours = without_neurons(SpikeFPN(WIDTHS, 8, **options)).eval()
    # The names are those of mmdet; only biases in front of norms are ours.
    missing, unexpected = ours.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected
    assert not missing or options['norm_cfg']
    for name in missing:
        ours.get_parameter(name).data.zero_()
    if halves or 'scale_factor' in options['upsample_cfg']:
        inputs = maps(sizes=(32, 16, 8, 4), ratio=2)
    else:
        inputs = maps()
    for a, b in zip(ours(inputs), stock(inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_a_scale_factor_grows_the_coarser_level():
    neck = SpikeFPN([4, 4], 8, 2, upsample_cfg=dict(scale_factor=2))
    outs = neck((torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)))
    assert [tuple(out.shape) for out in outs] == [(1, 8, 8, 8), (1, 8, 4, 4)]


def test_a_scale_factor_that_does_not_fit():
    neck = SpikeFPN([4, 4], 8, 2, upsample_cfg=dict(scale_factor=2))
    message = r'scale_factor=2 makes \(8, 8\) of a level of size \(4, 4\), .* has \(7, 8\); leave'
    with pytest.raises(ValueError, match=message):
        neck((torch.randn(1, 4, 7, 8), torch.randn(1, 4, 4, 4)))


def test_convolutions_see_spikes():
    neck = SpikeFPN(WIDTHS, 8, 5, norm_cfg=dict(type='BN'), neuron_cfg=dict(type='mmspike.LIF'))
    seen = []
    for module in neck.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda conv, inputs: seen.append(inputs[0]))
    neck(maps())
    assert len(seen) == 8
    for x in seen:
        assert set(x.unique().tolist()) <= {0.0, 1.0}


def test_read_out_is_the_mean_over_time():
    options = dict(in_channels=WIDTHS, out_channels=8, num_outs=5, timesteps=3)
    neck = SpikeFPN(**options, neuron_cfg=dict(type='mmspike.LIF'))
    stock_ready = SpikeFPN(**options, neuron_cfg=dict(type='mmspike.LIF'), readout=True)
    stock_ready.load_state_dict(neck.state_dict())
    assert get_timesteps(neck) == get_timesteps(stock_ready) == 3
    inputs = maps(batch=6)
    for out, steps in zip(stock_ready(inputs), neck(inputs), strict=True):
        assert out.shape[0] == 2
        torch.testing.assert_close(out, steps.unflatten(0, (3, 2)).mean(0))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_outs=3), 'num_outs=3 does not fit 4 used inputs of 4'),
        (dict(num_outs=4, end_level=1), 'num_outs=4 does not fit 2 used inputs'),
        (dict(num_outs=4, start_level=4), 'start_level=4 and end_level=-1 do not choose any'),
        (dict(num_outs=5, add_extra_convs='on_top'), "add_extra_convs must be .* got 'on_top'"),
    ],
)
def test_bad_levels(options, message):
    with pytest.raises(ValueError, match=message):
        SpikeFPN(WIDTHS, 8, **options)


def test_wrong_number_of_inputs():
    with pytest.raises(ValueError, match=r'built for 4 inputs .*, got 3'):
        SpikeFPN(WIDTHS, 8, 4)(maps()[:3])
