import pytest
import torch
from mmengine.registry import MODELS

from mmspike.layers import TemporalMean
from mmspike.temporal import set_timesteps


def test_mean_over_time_worked_by_hand():
    # rows t * B + b with T = 2, B = 3
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [5.0, 1.0], [6.0, 2.0], [7.0, 4.0]])
    assert TemporalMean(timesteps=2)(x).tolist() == [[3, 0.5], [4, 1], [5, 2]]


def test_one_step_is_the_identity():
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(TemporalMean()(x), x)


@pytest.mark.parametrize('T', [1, 2, 7])
@pytest.mark.parametrize('container', [tuple, list])
def test_every_level_of_a_pyramid_is_read_out(T, container):
    levels = container(torch.randn(T * 2, 3, size, size) for size in (8, 4, 2))
    out = TemporalMean(timesteps=T)(levels)
    assert isinstance(out, tuple)
    assert [level.shape for level in out] == [(2, 3, 8, 8), (2, 3, 4, 4), (2, 3, 2, 2)]
    for level, mean in zip(levels, out, strict=True):
        expected = sum(level[t * 2 : t * 2 + 2] for t in range(T)) / T
        torch.testing.assert_close(mean, expected)


def test_the_gradient_is_split_among_the_steps():
    x = torch.randn(8, 3, requires_grad=True)
    TemporalMean(timesteps=4)(x).sum().backward()
    assert torch.equal(x.grad, torch.full((8, 3), 0.25))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_dtype(dtype):
    out = TemporalMean(timesteps=2)(torch.tensor([[1.0], [2.0]], dtype=dtype))
    assert out.dtype == dtype
    assert out.tolist() == [[1.5]]


def test_an_empty_batch():
    assert TemporalMean(timesteps=3)(torch.zeros(0, 5, 2)).shape == (0, 5, 2)


def test_memory_layout_does_not_matter():
    x = torch.randn(4, 3, 5, 5)
    layer = TemporalMean(timesteps=2)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))


def test_t_of_the_model_reaches_it():
    layer = TemporalMean()
    set_timesteps(layer, 4)
    assert layer(torch.zeros(8, 1)).shape == (2, 1)


def test_built_from_a_config():
    layer = MODELS.build(dict(type='mmspike.TemporalMean', timesteps=4))
    assert type(layer) is TemporalMean
    assert layer.timesteps == 4


def test_a_batch_that_is_no_multiple_of_t():
    with pytest.raises(ValueError, match=r'shape \(5, 2\) cannot hold 3 time steps'):
        TemporalMean(timesteps=3)(torch.zeros(5, 2))


@pytest.mark.parametrize(('value', 'error'), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_bad_timesteps(value, error):
    with pytest.raises(error, match=f'got {value}'):
        TemporalMean(timesteps=value)
