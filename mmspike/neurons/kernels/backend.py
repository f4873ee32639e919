"""Selection of the backend of the neurons.

``auto`` (the default) takes the fused kernels where they can run, and plain torch elsewhere; it
says once which, and why. The environment variable ``MMSPIKE_NEURON_BACKEND`` or
:func:`neuron_backend` choose explicitly; an explicit choice that cannot run is an error.
"""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmspike.neurons.kernels import cpu, cuda
from mmspike.neurons.kernels.dispatcher import is_plain
from mmspike.neurons.kernels.settings import KERNEL_DTYPES

# Backends with kernels, each for tensors on the device of its name.
KERNELS = ('cpu', 'cuda')
BACKENDS = ('auto', 'reference', *KERNELS)
# Names of before; they work for one release.
OLD_NAMES = {'host': 'cpu', 'cupy': 'cuda'}


def _check(name: str) -> str:
    if name in OLD_NAMES:
        warnings.warn(
            f'neuron backend {name!r} is now {OLD_NAMES[name]!r}', DeprecationWarning, stacklevel=4
        )
        return OLD_NAMES[name]
    if name not in BACKENDS:
        raise ValueError(f'unknown neuron backend {name!r}; known are {", ".join(BACKENDS)}')
    return name


# The choice of threads that make none.
_PROCESS_CHOICE = _check(os.environ.get('MMSPIKE_NEURON_BACKEND', 'auto'))
_chosen = ContextVar('neuron_backend', default=_PROCESS_CHOICE)
# The blocks that are open, of all threads, and their names as one text. Compiled code is bound to
# that text: torch.compile can follow a change of it, but not the choice of a thread.
_open_blocks: list[str] = []
_open_names = ''
_lock = threading.Lock()


def _note(change: Callable[[str], None], name: str) -> None:
    global _open_names
    with _lock:
        change(name)
        _open_names = ' '.join(_open_blocks)


@contextmanager
def neuron_backend(name: str) -> Iterator[None]:
    """Run the neurons inside the block on one implementation.

    The choice belongs to the thread (or asyncio task) that opened the block. Other threads keep
    theirs, and threads that are started inside begin with the choice of the process.

    Args:
        name: ``'auto'``, ``'reference'`` (plain torch), ``'cpu'`` (compiled, for CPU tensors) or
            ``'cuda'`` (for CUDA tensors).

    Raises:
        ValueError: The name is unknown.
    """
    previous = _chosen.get()
    name = _check(name)
    _chosen.set(name)
    _note(_open_blocks.append, name)
    try:
        yield
    finally:
        _note(_open_blocks.remove, name)
        _chosen.set(previous)


def chosen_backend() -> str:
    """The name of the backend that this thread chose."""
    if torch.compiler.is_compiling():
        return _chosen_while_open(_open_names)
    return _chosen.get()


@torch.compiler.assume_constant_result
def _chosen_while_open(open_names: str) -> str:
    """The backend of the compiling thread. Other open blocks cause recompilation."""
    return _chosen.get()


def use_kernels(x: Tensor) -> bool:
    """Whether the fused kernels run an input.

    Raises:
        RuntimeError: They were chosen explicitly and cannot; the message says what to do.
    """
    chosen = chosen_backend()
    if chosen == 'reference':
        return False
    reason = _obstacle(x)
    if chosen == 'auto':
        if not torch.compiler.is_compiling():
            _tell_once(x.device.type, reason)
        return reason is None
    if chosen != x.device.type:
        reason = f'the input is on {x.device.type}; move it, or use auto or reference'
    if reason is not None:
        raise RuntimeError(f'neuron backend {chosen!r} was chosen, but {reason}')
    return True


def kernels_fit(x: Tensor) -> bool:
    """Whether kernels may read an input's memory and can: :func:`use_kernels` as a question."""
    return chosen_backend() != 'reference' and _obstacle(x) is None and is_plain(x)


def _obstacle(x: Tensor) -> str | None:
    """Why no kernels can run an input; None if they can."""
    if x.device.type not in KERNELS:
        return f'the input is on {x.device.type}; kernels exist for {" and ".join(KERNELS)}'
    if x.dtype not in KERNEL_DTYPES:
        return f'the input is {x.dtype}; kernels take float32, float16 and bfloat16'
    if x.layout is not torch.strided or x.is_nested:
        return 'the input is nested, sparse or packed; kernels take plain strided tensors'
    if not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack():
        return 'a transform of torch.func (vmap, grad, jvp) is active, which kernels do not support'
    if x.is_cuda:
        return cuda.obstacle()
    return None if cpu.AVAILABLE else cpu.HOW_TO_BUILD


@cache
def _tell_once(device_type: str, reason: str | None) -> None:
    if reason is None:
        message = f'neurons on {device_type} run in fused kernels'
        print_log(message, logger='current', level=logging.INFO)
    else:
        message = f'neurons on {device_type} run in plain torch: {reason}'
        print_log(message, logger='current', level=logging.WARNING)
