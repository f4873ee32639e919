import pytest
import torch
from torch import nn

from mmspike.layers import VisibleBN, VisibleSyncBN, only_visible, recompute

PATCHES = torch.tensor([[[True, False], [False, True]], [[False, False], [True, True]]])


def positions():
    """Of maps of 4x6: patches of 2x3."""
    return PATCHES.repeat_interleave(2, 1).repeat_interleave(3, 2)


@pytest.mark.parametrize('kind', [VisibleBN, VisibleSyncBN])
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('timesteps', [1, 3])
def test_visible_positions_are_normed_among_themselves(kind, training, timesteps):
    torch.manual_seed(0)
    norm, plain = kind(5).train(training), nn.BatchNorm1d(5).train(training)
    for one in (norm, plain):
        one.weight.data.copy_(torch.arange(1.0, 6.0))
        one.bias.data.fill_(0.5)
        one.running_mean.fill_(0.25)
    x = torch.randn(timesteps * 2, 5, 4, 6)
    visible = positions().repeat(timesteps, 1, 1)
    expected = torch.zeros(timesteps * 2, 4, 6, 5)
    expected[visible] = plain(x.movedim(1, -1)[visible])
    with only_visible(PATCHES):
        out = norm(x)
    torch.testing.assert_close(out, expected.movedim(-1, 1))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value)


@pytest.mark.parametrize('kind', [VisibleBN, VisibleSyncBN])
def test_outside_of_the_block_all_positions_count(kind):
    x = torch.randn(2, 3, 4, 4)
    with only_visible(PATCHES):
        pass
    torch.testing.assert_close(kind(3)(x), nn.BatchNorm2d(3)(x))
    with only_visible(PATCHES), only_visible(None):
        torch.testing.assert_close(kind(3)(x), nn.BatchNorm2d(3)(x))


def test_gradients_stay_in_visible_positions():
    x = torch.randn(2, 3, 4, 6, requires_grad=True)
    with only_visible(PATCHES):
        VisibleBN(3)(x).square().mul(torch.rand(2, 3, 4, 6)).sum().backward()
    touched = x.grad.abs().sum(1) > 0
    assert torch.equal(touched, positions())


def test_a_second_computation_sees_the_patches_of_the_first():
    """Backward runs after the block, and the next images may have other patches by then."""
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), VisibleBN(3))
    x = torch.randn(2, 3, 4, 6, requires_grad=True)
    grads, statistics = [], []
    for run in (lambda b, x: b(x), recompute):
        block[1].reset_running_stats()
        with only_visible(PATCHES):
            out = run(block, x)
        with only_visible(~PATCHES):
            grads.append(torch.autograd.grad(out.square().sum(), [x, block[0].weight]))
        statistics.append(block[1].running_var.clone())
    for own, other in zip(*grads, strict=True):
        torch.testing.assert_close(own, other)
    assert torch.equal(*statistics)


def test_half_precision():
    x = torch.randn(2, 3, 4, 6, dtype=torch.bfloat16)
    with only_visible(PATCHES):
        assert VisibleBN(3)(x).dtype == torch.bfloat16
