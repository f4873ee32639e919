"""Who reads the outputs of layers, observed in one run of a model."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

Kinds = tuple[type[nn.Module], ...]


class _Uses(TorchFunctionMode):
    """Counts the functions that make tensors of an observed output."""

    def __init__(self) -> None:
        super().__init__()
        # Outputs are kept, or another tensor could get the number of one.
        self.made: dict[int, tuple[nn.Module, Tensor]] = {}
        self.number: Counter[int] = Counter()

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if any(isinstance(x, Tensor) for x in tree_leaves(out)):
            self.count((args, kwargs))
        return out

    def count(self, values: Any) -> None:
        self.number.update({id(x) for x in tree_leaves(values) if id(x) in self.made})


class Readers:
    """One run of a model, in which layers make outputs and other modules read them.

    An output that the model or one of its parts returns is read from outside as well.

    Args:
        model: Any model.
        run: Runs the model it is given on any data of the right shape.
        layers: Types of the modules whose outputs are observed.
        readers: Types of the modules that read them.
        parts: Modules whose outputs somebody else may read, such as the backbone of a model.

    Attributes:
        calls: Number of calls of each layer and reader.
    """

    def __init__(
        self,
        model: nn.Module,
        run: Callable[[nn.Module], Any],
        layers: Kinds,
        readers: Kinds,
        parts: Iterable[nn.Module] = (),
    ) -> None:
        self.calls: Counter[nn.Module] = Counter()
        self._uses = _Uses()
        self._read: list[tuple[nn.Module, Tensor]] = []
        handles: list[RemovableHandle] = []
        for module in model.modules():
            if isinstance(module, readers):
                handles.append(module.register_forward_pre_hook(self._taken))
            elif isinstance(module, layers):
                handles.append(module.register_forward_hook(self._made))
        handles += [part.register_forward_hook(self._returned) for part in parts]
        try:
            with torch.no_grad(), self._uses:
                self._uses.count(run(model))
        finally:
            for handle in handles:
                handle.remove()

    def sole(self) -> list[tuple[nn.Module, nn.Module]]:
        """A pair of layer and reader for every output that nobody else reads."""
        return [
            (self._uses.made[id(x)][0], reader)
            for reader, x in self._read
            if self._uses.number[id(x)] == 1
        ]

    def _made(self, layer: nn.Module, args: tuple, out: Tensor) -> None:
        self._uses.made[id(out)] = layer, out
        self.calls[layer] += 1

    def _taken(self, reader: nn.Module, args: tuple) -> None:
        self.calls[reader] += 1
        if id(args[0]) in self._uses.made:
            self._read.append((reader, args[0]))

    def _returned(self, part: nn.Module, args: tuple, out: Any) -> None:
        self._uses.count(out)
