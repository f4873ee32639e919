"""What a part of a model is: a layer of neurons, a layer with weights."""

from spikingjelly.activation_based.neuron import BaseNode
from torch import nn

from mmspike.neurons import BaseNeuron


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a layer of neurons of mmspike or spikingjelly."""
    return isinstance(module, BaseNeuron | BaseNode)
