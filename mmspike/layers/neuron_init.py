"""Initialisation of layers between binary neurons.

The hosts draw weights for layers between ReLUs. A ReLU passes on whatever is positive, however
small; a binary neuron fires only where its membrane reaches the threshold. Behind a layer of such
weights it hardly ever does, and layer after layer falls silent. So these weights are drawn wider::

    std = gain / sqrt(fan_in)

The gain is measured on the neuron (:func:`neuron_gain`). With it, membranes of the next layer
spread as widely as those of this one, about as far as the neuron needs to fire.
"""

import math
from collections.abc import Iterator
from typing import cast

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit
from torch import Tensor, nn

from mmspike.neurons.binary import BinaryNeuron


@torch.no_grad()
def neuron_gain(neuron: BinaryNeuron) -> float:
    """Spread of weights, times ``sqrt(fan_in)``, that preserves the activity of a neuron.

    Currents are normally distributed, anew at every step. Their standard deviation ``s`` is the
    smallest current that makes the neuron fire within its T steps if it stays. The gain is
    ``s / sqrt(mean(output ** 2))``: spikes of this rate, weighted and summed, have the standard
    deviation ``s`` again.

    Args:
        neuron: The neuron; its number of time steps counts.

    Raises:
        ValueError: No current up to 1000 times the threshold makes the neuron fire.
    """

    def fire(currents: Tensor) -> Tensor:
        device = next(neuron.parameters(), currents).device
        return neuron.fire(currents.to(device), None)[0].cpu()

    constant = neuron.threshold * torch.logspace(-2, 3, 1000)
    fires = fire(constant.repeat(neuron.timesteps, 1)).any(0)
    if not fires.any():
        raise ValueError(
            f'{neuron} does not fire within its {neuron.timesteps} time steps at any current up to '
            '1000 times its threshold'
        )
    smallest = constant[fires][0]
    # A generator of its own: the random numbers of training stay where they are.
    drawn = torch.randn(neuron.timesteps, 2**16, generator=torch.Generator().manual_seed(0))
    return (smallest / fire(smallest * drawn).square().mean().sqrt()).item()


class NeuronInit(BaseModule):
    """Mixin of necks and heads that initialises the layers between binary neurons.

    It stands in front of a ``BaseModule`` of mmengine. Layers behind other neurons, and layers with
    a norm, keep the initialisation of ``init_cfg``; so do all where it is a pretrained checkpoint.
    """

    def init_weights(self) -> None:
        """Initialise from ``init_cfg``, then the layers between binary neurons."""
        first_time = not self.is_init
        super().init_weights()
        chosen = [self.init_cfg] if isinstance(self.init_cfg, dict) else self.init_cfg or []
        if first_time and not any(c['type'] in ('Pretrained', PretrainedInit) for c in chosen):
            for neuron, layer in self.spiking_layers():
                if isinstance(neuron, BinaryNeuron):
                    std = neuron_gain(neuron) / math.sqrt(_fan_in(layer))
                    nn.init.normal_(cast(Tensor, layer.weight), std=std)

    def spiking_layers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Pairs of a neuron and the layer that reads its spikes, whose sums another neuron reads.

        Here, all convolutions of ``ConvModule`` with a neuron in front and without a norm.
        """
        for module in self.modules():
            if (
                isinstance(module, ConvModule)
                and module.order[0] == 'act'
                and module.with_activation
                and not module.with_norm
            ):
                yield module.activate, module.conv


def _fan_in(layer: nn.Module) -> float:
    """Number of inputs of each output."""
    if isinstance(layer, nn.ConvTranspose2d):
        overlap = math.prod(layer.kernel_size) / math.prod(layer.stride)
        return layer.in_channels // layer.groups * overlap
    return cast(Tensor, layer.weight)[0].numel()
