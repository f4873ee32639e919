"""Memory that a neuron touches, keeps and needs at most; measured, not claimed."""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# They touch no memory.
FREE = ('empty', 'detach', 'alias', 'lift')


def keep_memory() -> None:
    """Let the allocator keep freed memory, as GPUs' and jemalloc's do.

    Otherwise large tensors come from the system each time, or not, as it happens; the page faults
    cost more than any candidate, and as much as they do for ``clone()``. glibc only; elsewhere
    nothing changes. ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000`` does it from outside.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_max = -1, -4
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, 2**31 - 1)


def kept_bytes(run: Callable[[], object]) -> int:
    """Bytes of all distinct tensors that a forward pass keeps for backward."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run()
    del out
    return sum(kept.values())


def _bytes(tensors: list[object]) -> int:
    """Bytes of distinct tensors; sizes that are only repeated (stride 0) count once."""
    found = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            elements = 1
            for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
                elements *= size if stride else 1
            found[tensor.data_ptr()] = elements * tensor.element_size()
    return sum(found.values())


class Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write: their tensor arguments and results.

    A fused kernel is one operator. What an operator reads twice, or keeps in cache, counts once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read = self.written = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function.is_view or function.overloadpacket.__name__.startswith(FREE):
            return out
        inputs = tree_leaves((args, kwargs))
        if not function.overloadpacket.__name__.startswith(('zeros', 'ones', 'full', 'fill')):
            self.read += _bytes(inputs)
        self.written += _bytes(tree_leaves(out))
        return out


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """Most bytes allocated at a time during a call, beyond those allocated before it."""
    if device != 'cpu':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    # Those inside of operators are told by the raw events alone.
    events = profiler.profiler.kineto_results.events()
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == '[memory]':
            allocated += event.nbytes()
            peak = max(peak, allocated)
    return peak
