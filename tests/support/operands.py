"""What a model multiplies, seen below PyTorch's Python functions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_MULTIPLYING = ('convolution', 'mm', 'addmm', 'bmm', 'mkldnn_linear')


class _Operands(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple, Tensor]] = []

    def __torch_dispatch__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in _MULTIPLYING:
            self.seen.append((name, args, out))
        return out


@contextmanager
def watched_operands() -> Iterator[list[tuple[str, tuple, Tensor]]]:
    """Inside the block, collect the name, the arguments and the result of each multiplication."""
    with _Operands() as mode:
        yield mode.seen
