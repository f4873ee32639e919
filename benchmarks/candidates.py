"""The neurons that are compared: ours, spikingjelly's, plain torch, and research code."""

from dataclasses import dataclass

import torch
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate as sj_surrogate
from torch import Tensor, nn

from mmspike import set_timesteps
from mmspike.neurons import IF, ILIF, LIF, PLIF, QCFS, SFA, SpikingQCFS
from mmspike.neurons.kernels.backend import neuron_backend

NEURONS = {cls.__name__: cls for cls in (LIF, IF, PLIF, ILIF, SFA, QCFS, SpikingQCFS)}
# Of these, a bit per element is all that backward needs of the input.
ONE_BIT = ('SFA', 'ILIF')


class PlainSFA(nn.Module):
    """The integer neuron as research code writes it: a boolean-mask backward, the input kept."""

    class _Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.round(torch.clamp(x, min=0, max=4))

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            grad = grad.clone()
            grad[x < 0] = 0
            grad[x > 4] = 0
            return grad

    def forward(self, x: Tensor) -> Tensor:
        return self._Function.apply(x) / 4


class MultiStep(nn.Module):
    """A spikingjelly node on folded time, reset before every call."""

    def __init__(self, node: nn.Module, timesteps: int) -> None:
        super().__init__()
        node.step_mode = 'm'
        self.node, self.timesteps = node, timesteps

    def forward(self, x: Tensor) -> Tensor:
        self.node.reset()
        return self.node(x.unflatten(0, (self.timesteps, -1))).flatten(0, 1)


def spikingjelly_node(name: str) -> nn.Module | None:
    """The node of spikingjelly that computes the same; None if there is none."""
    counts = sj_surrogate.MultiLevelSpikeCount(4)
    make = {
        'LIF': lambda: sj.LIFNode(detach_reset=True),
        'IF': lambda: sj.IFNode(detach_reset=True),
        'PLIF': lambda: sj.ParametricLIFNode(detach_reset=True),
        'ILIF': lambda: sj.ILIFNode(tau=4 / 3, surrogate_function=counts, detach_reset=True),
    }.get(name)
    return None if make is None else make()


@dataclass
class Candidate:
    """A way to run a neuron."""

    neuron: str
    name: str
    module: nn.Module
    backend: str = 'auto'

    def __call__(self, x: Tensor) -> Tensor:
        with neuron_backend(self.backend):
            return self.module(x)

    def forward(self, x: Tensor) -> Tensor:
        """Inference on ``(T*B, ...)``."""
        with torch.no_grad():
            return self(x)

    def forward_backward(self, x: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
        """A training step on ``(T*B, ...)``: gradients of the input and of what is learned."""
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self(x), [x, *self.module.parameters()], grad)


def candidates(
    neurons: list[str], timesteps: int, device: str, compiled: bool = False
) -> list[Candidate]:
    """All ways to run the neurons.

    Args:
        neurons: Keys of :data:`NEURONS`.
        timesteps: Steps T.
        device: Where to put them.
        compiled: Also plain torch, compiled by ``torch.compile``.
    """
    found = []
    for name in neurons:
        ours = NEURONS[name]().to(device)
        set_timesteps(ours, timesteps)
        found.append(Candidate(name, 'mmspike', ours))
        found.append(Candidate(name, 'plain torch', ours, 'reference'))
        if compiled:
            found.append(Candidate(name, 'torch.compile', torch.compile(ours), 'reference'))
        node = spikingjelly_node(name)
        if node is not None:
            peer = MultiStep(node, timesteps).to(device)
            found.append(Candidate(name, 'spikingjelly', peer))
        if name == 'SFA':
            found.append(Candidate(name, 'research code', PlainSFA()))
    return found
