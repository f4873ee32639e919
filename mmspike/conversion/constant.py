"""Computing once what is the same at every time step."""

import threading
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.neurons import BaseNeuron
from mmspike.temporal import work_of_steps


class ConstantLayers:
    """Inside the block, layers in front of the first neuron compute an image once for all steps.

    They are given an input that is repeated over time, or one that is not repeated yet. Only an
    instance's own ``forward`` can spare a call its work; it is taken back when the block ends.
    Calls from other threads compute as always.

    Args:
        model: Its layers with weights and without parts.

    Attributes:
        holds: Whether all that ran so far is the same at every step; whoever runs the model says
            so, and when it ends.
        length: Steps that the input is repeated over.
        batch: Samples.
    """

    def __init__(self, model: nn.Module) -> None:
        self.thread = threading.get_ident()
        self.holds = False
        self.length = self.batch = 0
        self._layers = [
            module
            for module in model.modules()
            if not isinstance(module, BaseNeuron)
            and next(module.children(), None) is None
            and next(module.parameters(recurse=False), None) is not None
        ]
        self._replaced: dict[nn.Module, Any] = {}
        self._kept: dict[tuple[nn.Module, int], tuple[Tensor, bool]] = {}
        self._calls: dict[nn.Module, int] = {}

    def __enter__(self) -> 'ConstantLayers':
        for layer in self._layers:
            self._replaced[layer] = layer.__dict__.get('forward')
            layer.forward = _Once(self, layer, layer.forward)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for layer, forward in self._replaced.items():
            del layer.forward
            if forward is not None:
                layer.forward = forward

    def begin_chunk(self, length: int, batch: int, holds: bool) -> None:
        """The steps to come, and whether the input is the same at all of them."""
        self.length, self.batch, self.holds = length, batch, holds
        self._calls.clear()

    def run(self, layer: nn.Module, forward: Any, x: Tensor) -> Tensor:
        """What ``forward(x)`` gives, from the first chunk's result where that is known."""
        if not self.holds or torch.is_grad_enabled():
            return forward(x)
        place = (layer, self._calls.get(layer, 0))
        self._calls[layer] = place[1] + 1
        if place in self._kept:
            out, repeated = self._kept[place]
        else:
            # Windows and tokens may have joined the batch by now, but time is outermost still.
            repeated = len(x) != self.batch and _is_repeated(x, self.length)
            if not repeated and len(x) != self.batch:
                return forward(x)
            with work_of_steps(1):
                out = forward(x[: len(x) // self.length] if repeated else x)
            self._kept[place] = out, repeated
        return repeat(out, self.length) if repeated else out


class _Once:
    """The forward of a layer."""

    def __init__(self, constant: ConstantLayers, layer: nn.Module, forward: Any) -> None:
        self.constant, self.layer, self.forward = constant, layer, forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        others = self.constant.thread != threading.get_ident()
        if others or len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            return self.forward(*args, **kwargs)
        return self.constant.run(self.layer, self.forward, args[0])


def repeat(x: Tensor, times: int) -> Tensor:
    """``(B, ...)`` to ``(times*B, ...)``, step after step."""
    return x.repeat(times, *[1] * (x.dim() - 1))


def _is_repeated(x: Tensor, times: int) -> bool:
    if len(x) % times:
        return False
    steps = x.unflatten(0, (times, -1))
    return torch.equal(steps, steps[:1].expand_as(steps))
