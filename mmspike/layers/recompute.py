"""Activation checkpointing that leaves batch-norm statistics alone."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmspike.layers.visible_norm import only_visible, visible_patches
from mmspike.neurons import BaseNeuron
from mmspike.neurons.kernels.backend import chosen_backend, neuron_backend

# Compiled code of torch 2.6 updates buffers in both runs, that of 2.9 in the first alone; versions
# between them are untested.
_UPDATES_TWICE = torch.__version__ < '2.9'


@contextmanager
def _second_run(module: nn.Module, backend: str, patches: Tensor | None) -> Iterator[None]:
    """Inside the block, in any thread, a repeated forward does not update statistics.

    Neurons run on the backend, and norms see the patches, of the first run.
    """
    with neuron_backend(backend), only_visible(patches), _without_statistics(module):
        yield


@contextmanager
def _without_statistics(module: nn.Module) -> Iterator[None]:
    norms = _norms_with_statistics(module)
    momenta = [norm.momentum for norm in norms]
    counts = [norm.get_buffer('num_batches_tracked').clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            # torch may stop the second computation early: restore the count, do not count down.
            norm.get_buffer('num_batches_tracked').copy_(count)


def _norms_with_statistics(module: nn.Module) -> list[_BatchNorm]:
    """The norms that a forward pass gives new running statistics."""
    return [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]


def recompute(block: nn.Module, x: Tensor) -> Tensor:
    """Run ``block(x)``, keeping only ``x`` for backward and computing the rest again there.

    The second computation would move the running statistics of batch norms a second time, so they
    are kept out of it: training with and without recomputation gives the same model. Compiled code
    of torch before 2.9 cannot keep them out, and keeps all of a block with such norms instead.

    Raises:
        RuntimeError: A neuron of the block is stateful; it would go through its steps twice.
    """
    neurons = [module for module in block.modules() if isinstance(module, BaseNeuron)]
    if any(neuron.stateful and neuron.has_memory for neuron in neurons):
        raise RuntimeError(
            'with_cp=True runs every neuron twice and would advance the state of stateful neurons '
            'twice; use one of the two'
        )
    if torch.compiler.is_compiling():
        if _UPDATES_TWICE and _norms_with_statistics(block):
            return block(x)
        return checkpoint(block, x, use_reentrant=False)
    backend, patches = chosen_backend(), visible_patches()
    return checkpoint(
        block,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _second_run(block, backend, patches)),
    )
