"""Networks that were loaded from NIR: modules, and which outputs each of them takes."""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn

from mmspike.temporal import TemporalModule, fold_time, init_timesteps, unfold_time


class Network(nn.ModuleDict):
    """A graph without loops: ``(T*B, ...)`` to ``(T*B, ...)``, all steps of a node at once.

    Its parts have the names of the nodes; a dot becomes ``_``.

    Args:
        nodes: Name -> module.
        wiring: Name -> nodes whose outputs are added up to be the module's input, in the order of
            execution.
        entry: Name of the input node.
        exits: Nodes whose outputs are added up to be the network's output.
    """

    def __init__(
        self,
        nodes: Mapping[str, nn.Module],
        wiring: Mapping[str, tuple[str, ...]],
        entry: str,
        exits: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.wiring = dict(wiring)
        self.entry = entry
        self.exits = exits
        self.parts: dict[str, str] = {}  # node -> its name here
        for name, module in nodes.items():
            part = name.replace('.', '_') or '_'
            while hasattr(self, part):  # a method, or another node
                part += '_'
            self.parts[name] = part
            self[part] = module

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, {})

    def _run(self, x: Tensor, values: dict[str, Tensor]) -> Tensor:
        """Run all nodes once; ``values`` are outputs that are there already, and get those made."""
        values[self.entry] = x
        for name, sources in self.wiring.items():
            given = _sum(values[source] for source in sources if source in values)
            values[name] = self[self.parts[name]](given)
        return _sum(values[name] for name in self.exits)


class RecurrentNetwork(Network, TemporalModule, MemoryModule):
    """A graph with loops, step by step: ``(T*B, ...)`` to ``(T*B, ...)``.

    An edge that closes a loop carries the output of the step before, and nothing at the first step.
    A call starts from rest, unless ``stateful`` is set.

    Args:
        nodes, wiring, entry, exits: See :class:`Network`.
        delayed: Nodes whose outputs such edges carry.

    Attributes:
        stateful: Keep all membranes, and what is on the delayed edges, from call to call, until
            :meth:`reset`. :func:`mmspike.neurons.set_stateful` sets it.
    """

    def __init__(
        self,
        nodes: Mapping[str, nn.Module],
        wiring: Mapping[str, tuple[str, ...]],
        entry: str,
        exits: tuple[str, ...],
        delayed: Iterable[str],
    ) -> None:
        super().__init__(nodes, wiring, entry, exits)
        self.delayed = tuple(delayed)
        self.stateful = False
        MemoryModule.register_memory(self, 'before', None)
        for module in self.values():
            if any(isinstance(part, TemporalModule) for part in module.modules()):
                init_timesteps(module, None)  # they run single steps, whatever T is

    before: dict[str, Tensor] | None

    def forward(self, x: Tensor) -> Tensor:
        """Run T steps.

        Raises:
            ValueError: The first size is no multiple of T.
        """
        memories: list[Any] = [
            m for m in self.modules() if isinstance(m, MemoryModule) and m is not self
        ]
        for module in memories:
            module.stateful = True  # from step to step
        try:
            return fold_time(torch.stack([self._step(s) for s in unfold_time(x, self.timesteps)]))
        finally:
            if not self.stateful:
                for module in (*memories, self):
                    module.reset()

    def _step(self, x: Tensor) -> Tensor:
        values = dict(self.before or {})
        out = self._run(x, values)
        self.before = {name: values[name] for name in self.delayed}
        return out


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, terms)
