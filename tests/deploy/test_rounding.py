from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmspike.deploy import export_onnx
from mmspike.deploy.calibration import MOST_ROWS, input_statistics
from mmspike.deploy.rounding import mean_errors, nearest, scales, with_feedback


class Stepping(nn.Module):
    """A model of a host, as far as a calibration knows one."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def test_step(self, batch):
        return self.layer(batch)


def spikes(*shape, seed=0):
    """Integers of which neighbours go together, as those of maps do."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator) * 3
    x[:, 1::2] = (x[:, ::2][:, : x[:, 1::2].shape[1]] + x[:, 1::2]) / 2
    return x.round()


@st.composite
def layers(draw):
    """A layer and its input."""
    torch.manual_seed(draw(st.integers(0, 99)))
    groups = draw(st.sampled_from([1, 2, 4]))
    if draw(st.booleans()):
        return nn.Linear(8, 5), spikes(40, 8)
    kernel = draw(st.sampled_from([1, 3]))
    padding = draw(st.sampled_from([0, 1, 'same', 'valid']))
    stride = 1 if padding == 'same' else draw(st.sampled_from([1, 2]))
    bias = draw(st.booleans())
    conv = nn.Conv2d(8, 12, kernel, stride, padding, groups=groups, bias=bias)
    return conv, spikes(3, 8, 6, 7)


def outputs(layer, weight, x):
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        out = layer(x)
    return out.double() if isinstance(layer, nn.Linear) else out.double().movedim(1, -1)


@settings(max_examples=40)
@given(layers())
def test_feedback_errs_less_than_nearest_and_the_mean_error_is_that_of_the_outputs(drawn):
    layer, x = drawn
    weight = layer.weight.detach().numpy().copy()
    known = input_statistics(Stepping(layer), [x])['layer']
    # Coarse weights: with 127 steps, float32 itself would be seen.
    scale = scales(weight, 0) * 16
    shape = [-1] + [1] * (weight.ndim - 1)
    exact = outputs(layer, weight, x)
    lost = {}
    for name, integers in (
        ('nearest', nearest(weight, scale, 0)),
        ('feedback', with_feedback(weight, scale, known)),
    ):
        assert integers.dtype == np.int8
        assert integers.shape == weight.shape
        rounded = integers * scale.reshape(shape)
        gap = exact - outputs(layer, rounded, x)
        lost[name] = float(gap.square().mean())
        mean = gap.reshape(-1, gap.shape[-1]).mean(0)
        np.testing.assert_allclose(mean_errors(weight, rounded, known), mean, atol=1e-4)
    # It minimises the error over all outputs together with a little damping, one weight after the
    # other: seldom, a small layer is as good without it.
    assert lost['feedback'] <= 1.25 * lost['nearest'] + 1e-6


def test_feedback_is_far_better_where_inputs_go_together():
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, 3)
    common = torch.rand(8, 1, 12, 12)
    x = ((common + 0.1 * torch.rand(8, 16, 12, 12)) * 4).round()
    weight = layer.weight.detach().numpy().copy()
    known = input_statistics(Stepping(layer), [x])['layer']
    scale = scales(weight, 0) * 8
    exact = outputs(layer, weight, x)
    shape = [-1, 1, 1, 1]
    errors = [
        float((exact - outputs(layer, integers * scale.reshape(shape), x)).square().mean())
        for integers in (nearest(weight, scale, 0), with_feedback(weight, scale, known))
    ]
    assert errors[1] < errors[0] / 4


def test_scales_map_the_largest_weight_of_a_channel_to_127():
    weight = np.array([[1.0, -2.54], [0.0, 0.0], [0.127, 0.1]], np.float32)
    np.testing.assert_allclose(scales(weight, 0), [0.02, 1, 0.001], rtol=1e-6)
    assert nearest(weight, scales(weight, 0), 0).tolist() == [[50, -127], [0, 0], [127, 100]]
    assert scales(weight, 1).shape == (2,)


def test_inputs_that_never_fire_do_no_harm():
    layer = nn.Linear(6, 3)
    known = input_statistics(Stepping(layer), [torch.zeros(9, 6)])['layer']
    weight = layer.weight.detach().numpy().copy()
    scale = scales(weight, 0)
    assert np.array_equal(with_feedback(weight, scale, known), nearest(weight, scale, 0))


def test_statistics_add_up_over_batches_and_maps_are_sampled():
    layer = nn.Conv2d(2, 3, 1)
    halves = spikes(2, 2, 5, 5), spikes(2, 2, 5, 5, seed=1)
    apart = input_statistics(Stepping(layer), halves)['layer']
    whole = input_statistics(Stepping(layer), [torch.cat(halves)])['layer']
    assert apart.rows == whole.rows == 100
    torch.testing.assert_close(apart.moments, whole.moments)
    large = input_statistics(Stepping(layer), [spikes(1, 2, 80, 80)])['layer']
    assert large.rows == MOST_ROWS


def test_without_a_batch():
    with pytest.raises(ValueError, match='there is no batch'):
        input_statistics(Stepping(nn.Linear(2, 2)), [])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rounding='up', precision='int8'), "one of .* got 'up'"),
        (dict(rounding='feedback'), "rounding='feedback' needs precision='int8', got 'float32'"),
        (dict(rounding='bias', precision='int8'), 'there is no batch'),
    ],
)
def test_options_that_do_not_go_together(options, message, exported):
    with pytest.raises(ValueError, match=message):
        export_onnx(exported.cfg, exported.model, 'never.onnx', **options)
    assert not Path('never.onnx').exists()
