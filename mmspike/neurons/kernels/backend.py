"""Which implementation runs the neurons.

``auto`` (the default) takes the fused kernels where they can run, and plain torch elsewhere, which
it says once, with the reason. The environment variable ``MMSPIKE_NEURON_BACKEND`` or
:func:`neuron_backend` choose explicitly; an explicit choice that cannot run is an error.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmspike.neurons.kernels import host

BACKENDS = ('auto', 'reference', 'host')
KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _check(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f'unknown neuron backend {name!r}; known are {", ".join(BACKENDS)}')
    return name


_chosen = _check(os.environ.get('MMSPIKE_NEURON_BACKEND', 'auto'))


@contextmanager
def neuron_backend(name: str) -> Iterator[None]:
    """Run the neurons inside the block on one implementation.

    Args:
        name: ``'auto'``, ``'reference'`` (plain torch) or ``'host'`` (compiled, for CPU tensors).

    Raises:
        ValueError: The name is unknown.
    """
    global _chosen
    previous, _chosen = _chosen, _check(name)
    try:
        yield
    finally:
        _chosen = previous


def use_kernels(x: Tensor) -> bool:
    """Whether the fused kernels run an input.

    Raises:
        RuntimeError: They were chosen explicitly and cannot; the message says what to do.
    """
    if _chosen == 'reference':
        return False
    reason = _obstacle(x)
    if reason is None:
        return True
    if _chosen == 'host':
        raise RuntimeError(f"neuron backend 'host' was chosen, but {reason}")
    _tell_once(reason)
    return False


def _obstacle(x: Tensor) -> str | None:
    if x.device.type != 'cpu':
        return f'the input is on {x.device.type}; kernels exist for cpu, use auto or reference'
    if x.dtype not in KERNEL_DTYPES:
        return f'the input is {x.dtype}; kernels take float32, float16 and bfloat16'
    return None if host.AVAILABLE else host.HOW_TO_BUILD


@cache
def _tell_once(reason: str) -> None:
    print_log(f'neurons run in plain torch: {reason}', logger='current', level=logging.WARNING)
