import pytest
import torch
from mmdet.models.necks import FPN
from torch import nn

from mmspike import get_timesteps
from mmspike.necks import SpikeFPN
from mmspike.neurons import BaseNeuron

WIDTHS = [4, 6, 8, 10]


def maps(batch=2, sizes=(32, 16, 8, 8), widths=WIDTHS):
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(batch, width, size, size + 1, generator=generator)
        for width, size in zip(widths, sizes, strict=True)
    )


class Passing(BaseNeuron):
    """Hands on what it gets."""

    step_value = 1.0

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


@pytest.mark.parametrize(
    'options',
    [
        dict(num_outs=4),
        dict(num_outs=5),
        dict(num_outs=6, add_extra_convs='on_input', start_level=1),
        dict(num_outs=6, add_extra_convs=True),
        dict(num_outs=5, add_extra_convs='on_lateral'),
        dict(num_outs=6, add_extra_convs='on_output'),
        dict(num_outs=2, start_level=1, end_level=2),
    ],
    ids=str,
)
def test_without_neurons_it_is_the_stock_pyramid(options):
    stock = FPN(WIDTHS, 8, **options)
    ours = without_neurons(SpikeFPN(WIDTHS, 8, **options))
    ours.load_state_dict(stock.state_dict())  # the names are those of mmdet
    inputs = maps()
    for a, b in zip(ours(inputs), stock(inputs), strict=True):
        torch.testing.assert_close(a, b)


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
