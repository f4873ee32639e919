"""Networks whose neurons fire, without training."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def give_statistics(model: nn.Module, run) -> None:
    """Let batch norms take the statistics of one batch, so that every neuron gets currents.

    ``run`` calls the model. It ends in evaluation mode.
    """
    model.eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train()
            module.momentum = 1.0
    run()
    model.eval()


@torch.no_grad()
def make_exact(model: nn.Module) -> None:
    """Round weights to multiples of 1/256: sums of spikes are exact then, in any order."""
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            for parameter in module.parameters():
                parameter.mul_(256).round_().div_(256)


def integers(*shape: int, low: int = -32, high: int = 33) -> Tensor:
    return torch.randint(low, high, shape)


def sixteenths(*shape: int) -> Tensor:
    """Random multiples of 1/16."""
    return integers(*shape) / 16
