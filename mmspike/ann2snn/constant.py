"""Layers whose result is the same at every time step are computed once."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.execution.replacement import replace
from mmspike.neurons import BaseNeuron
from mmspike.temporal import work_of_steps


class ConstantLayers:
    """Inside the block, layers in front of the first neuron compute an image once for all steps.

    They are given an input that is repeated over time, or one that is not repeated yet. Calls from
    other threads compute as always.

    Args:
        model: Its layers with weights and without parts.

    Attributes:
        holds: Whether all values so far are the same at every step. The caller sets it, and resets
            it at the end.
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
        self._replacements = ExitStack()
        self._kept: dict[tuple[nn.Module, int], tuple[Tensor, bool]] = {}
        self._calls: dict[nn.Module, int] = {}

    def __enter__(self) -> 'ConstantLayers':
        with ExitStack() as replacements:
            for layer in self._layers:
                replacements.callback(replace(layer, self._around, lasting=False).restore)
            self._replacements = replacements.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._replacements.close()

    def begin_chunk(self, length: int, batch: int, holds: bool) -> None:
        """The steps to come, and whether the input is the same at all of them."""
        self.length, self.batch, self.holds = length, batch, holds
        self._calls.clear()

    def _around(self, layer: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        others = self.thread != threading.get_ident()
        if others or not self.holds or torch.is_grad_enabled():
            return forward(*args, **kwargs)
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            return forward(*args, **kwargs)
        return self._once(layer, forward, args[0])

    def _once(self, layer: nn.Module, forward: Callable, x: Tensor) -> Tensor:
        """The result of ``forward(x)``, taken from the first chunk if it is known."""
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


def repeat(x: Tensor, times: int) -> Tensor:
    """``(B, ...)`` to ``(times*B, ...)``, step after step."""
    return x.repeat(times, *[1] * (x.dim() - 1))


def _is_repeated(x: Tensor, times: int) -> bool:
    if len(x) % times:
        return False
    steps = x.unflatten(0, (times, -1))
    return torch.equal(steps, steps[:1].expand_as(steps))
