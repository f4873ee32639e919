import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmspike.layers import DropPath
from mmspike.temporal import set_timesteps, unfold_time


def drop_path(drop_prob, T=1):
    layer = DropPath(drop_prob)
    layer.timesteps = T
    return layer


def test_evaluation_changes_nothing():
    x = torch.randn(4, 3)
    assert torch.equal(drop_path(0.9, T=2).eval()(x), x)


def test_a_probability_of_zero_changes_nothing():
    x = torch.randn(4, 3)
    assert torch.equal(DropPath()(x), x)


@given(
    st.sampled_from([1, 2, 7]),
    st.integers(0, 5),
    st.lists(st.integers(1, 3), max_size=3),
    st.floats(0.05, 0.95),
    st.integers(0, 2**31 - 1),
)
@settings(deadline=None, max_examples=30)
def test_a_sample_is_kept_or_dropped_for_all_time_steps(T, B, rest, drop_prob, seed):
    torch.manual_seed(seed)
    x = torch.rand(T * B, *rest) + 1
    out = drop_path(drop_prob, T)(x)
    assert out.shape == x.shape
    before, after = unfold_time(x, T), unfold_time(out, T)
    for b in range(B):
        kept = after[0, b].reshape(-1)[0] > 0
        expected = before[:, b] / (1 - drop_prob) if kept else torch.zeros_like(before[:, b])
        torch.testing.assert_close(after[:, b], expected)


def test_samples_are_dropped_apart():
    torch.manual_seed(0)
    out = unfold_time(drop_path(0.5, T=2)(torch.ones(2 * 64, 3)), 2)
    kept = (out[0, :, 0] > 0).sum().item()
    assert 0 < kept < 64


def test_the_share_that_is_dropped():
    torch.manual_seed(0)
    out = drop_path(0.3)(torch.ones(20_000, 1))
    assert (out == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert out.mean().item() == pytest.approx(1, abs=0.03)


def test_draws_anew_at_every_call():
    torch.manual_seed(0)
    layer, x = drop_path(0.5), torch.ones(64, 1)
    assert not torch.equal(layer(x), layer(x))


def test_the_same_seed_draws_the_same():
    layer, x = drop_path(0.5, T=2), torch.ones(64, 1)
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        outputs.append(layer(x))
    assert torch.equal(*outputs)


def test_the_gradient_is_scaled_like_the_output():
    torch.manual_seed(0)
    x = torch.ones(32, 3, dtype=torch.float64, requires_grad=True)
    out = drop_path(0.25, T=2)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    assert x.grad.unique().tolist() == pytest.approx([0, 4 / 3])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_dtype(dtype):
    torch.manual_seed(0)
    out = drop_path(0.5, T=2)(torch.ones(32, 3, dtype=dtype))
    assert out.dtype == dtype
    assert out.unique().tolist() == [0, 2]


def channels_last(x):
    return x.to(memory_format=torch.channels_last)


def strided(x):
    return x.repeat_interleave(2, 0)[::2]


def batch_last(x):
    return x.movedim(0, -1).contiguous().movedim(-1, 0)


@pytest.mark.parametrize('layout', [channels_last, strided, batch_last])
def test_memory_layout_does_not_matter(layout):
    x = torch.randn(8, 3, 2, 2)
    view = layout(x)
    assert not view.is_contiguous()
    outputs = []
    for given_x in (x, view):
        torch.manual_seed(0)
        outputs.append(drop_path(0.5, T=2)(given_x))
    assert torch.equal(*outputs)


def test_t_of_the_model_reaches_it():
    model = nn.Sequential(DropPath(0.5))
    set_timesteps(model, 2)
    with pytest.raises(ValueError, match=r'shape \(3, 1\) cannot hold 2 time steps'):
        model(torch.ones(3, 1))


@pytest.mark.parametrize('drop_prob', [-0.1, 1, 1.0, 2.5, math.nan])
def test_bad_probabilities(drop_prob):
    with pytest.raises(ValueError, match=rf'drop_prob must lie in \[0, 1\), got {drop_prob!r}'):
        DropPath(drop_prob)


def test_prints_its_probability():
    assert repr(DropPath(0.2)) == 'DropPath(drop_prob=0.2)'
