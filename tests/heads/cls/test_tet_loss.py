import pytest
import torch
from torch.nn.functional import cross_entropy

from mmspike.heads.cls import TETLoss


def test_is_the_mean_over_steps_and_a_pull_towards_the_mean():
    logits = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 4, 2, 2])
    loss = TETLoss(lamb=0.25, mean=0.5)(logits, target, avg_factor=3)
    steps = torch.stack([cross_entropy(step, target) for step in logits]).mean()
    expected = 0.75 * steps + 0.25 * ((logits - 0.5) ** 2).mean()
    torch.testing.assert_close(loss, expected)
    grad = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    torch.testing.assert_close(grad, torch.autograd.grad(expected, logits)[0])


def test_differs_from_the_loss_of_the_mean():
    logits, target = torch.randn(3, 4, 5), torch.tensor([0, 4, 2, 2])
    assert TETLoss(lamb=0.0)(logits, target) > cross_entropy(logits.mean(0), target)


def test_soft_targets():
    logits, scores = torch.randn(2, 4, 5), torch.rand(4, 5).softmax(1)
    expected = torch.stack([cross_entropy(step, scores) for step in logits]).mean()
    torch.testing.assert_close(TETLoss(lamb=0.0)(logits, scores), expected)


@pytest.mark.parametrize('lamb', [-0.1, 1.5])
def test_bad_weight(lamb):
    with pytest.raises(ValueError, match=str(lamb)):
        TETLoss(lamb=lamb)
