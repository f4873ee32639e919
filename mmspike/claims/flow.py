"""Which operations of a run work on what neurons sent, and which have neurons behind them."""

from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves


class Flow:
    """Follows tensors from operation to operation, by their memory.

    The order of calls does not tell: a model that runs step by step calls its encoder again after
    its neurons.

    Attributes:
        neurons: Whether any fired.
    """

    def __init__(self) -> None:
        self.neurons = False
        self._behind: list[bool] = []
        self._before: set[int] = set()
        # Of each memory: whether spikes went into it, and operations that no neuron took up yet.
        self._known: dict[StorageWeakRef, tuple[bool, frozenset[int]]] = {}

    def operation(self) -> int:
        """A number for an operation that is worth to know of, for the operator that comes next."""
        self._behind.append(False)
        return len(self._behind) - 1

    def made(self, args: Any, out: Any, operation: int | None = None) -> None:
        """What an operator made of its inputs."""
        spikes, waiting = self._sources(args)
        if operation is not None:
            self._behind[operation] = spikes
            waiting |= {operation}
        self._keep(out, spikes, waiting)

    def fired(self, args: Any, out: Any) -> None:
        """What an operator of a neuron made."""
        self.neurons = True
        self._before |= self._sources(args)[1]
        self._keep(out, True, frozenset())

    def behind_neurons(self, operations: list[int]) -> bool:
        """Whether one of them works on what neurons sent."""
        return any(self._behind[one] for one in operations)

    def between_neurons(self, operations: list[int]) -> bool:
        """Whether one of them stands between neurons."""
        return any(self._behind[one] and one in self._before for one in operations)

    def _sources(self, args: Any) -> tuple[bool, frozenset[int]]:
        known = [self._known[key] for key in map(_memory, _tensors(args)) if key in self._known]
        return any(spikes for spikes, _ in known), frozenset().union(*(w for _, w in known))

    def _keep(self, out: Any, spikes: bool, waiting: frozenset[int]) -> None:
        for x in _tensors(out):
            self._known[_memory(x)] = spikes, waiting


def _tensors(value: Any) -> list[Tensor]:
    return [x for x in tree_leaves(value) if isinstance(x, Tensor)]


def _memory(x: Tensor) -> StorageWeakRef:
    return StorageWeakRef(x.untyped_storage())
