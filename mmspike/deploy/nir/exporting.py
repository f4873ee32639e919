"""From modules to NIR."""

import io
import os
from functools import partial

import torch
from torch import Tensor, nn

from mmspike.ann2snn import fold_batch_norms
from mmspike.checks import check_number
from mmspike.deploy.nir.library import nir
from mmspike.deploy.nir.numbers import DT
from mmspike.deploy.nir.tracing import Tracer
from mmspike.files import atomic_write


def to_nir(
    model: nn.Module,
    sample: Tensor,
    path: str | os.PathLike | None = None,
    *,
    dt: float = DT,
) -> nir.NIRGraph:
    """Write a network as a NIR graph.

    The model runs once, on ``sample``, in evaluation mode. Each layer and neuron becomes a node,
    under its name in the model; a sum becomes several edges into one node. Batch norms are folded
    first (:func:`~mmspike.ann2snn.fold_batch_norms`). ``docs/nir.md`` lists what NIR can express.

    Args:
        model: A network of convolutions, linear layers, average pools, flattening, sums, and the
            neurons IF, LIF, PLIF and SpikingQCFS. It is not changed.
        sample: An input ``(T*B, ...)``. Only its shape matters.
        path: File to write, atomically; None writes none.
        dt: Length of a time step in seconds. Those who load the graph must know it.

    Raises:
        ValueError: The model holds what NIR cannot express; the message names the module and the
            reason. Or ``dt`` is not positive.
        TypeError: ``dt`` is no number.
        IsADirectoryError: ``path`` is a directory.

    Example:
        >>> import torch
        >>> from mmspike.neurons import LIF
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), LIF())
        >>> to_nir(net, torch.rand(1, 2)).edges
        [('input', '0'), ('0', '1'), ('1', 'output')]
    """
    dt = check_number('dt', dt, above=0)
    if hasattr(model, 'simulation'):
        raise ValueError(
            'a simulated model repeats its input and averages its outputs over time, and NIR has '
            'no time axis: export the network before simulate'
        )
    with torch.no_grad():
        model = fold_batch_norms(model, partial(_run, sample))
        graph = Tracer(model, dt).trace(sample)
    if path is not None:
        content = io.BytesIO()
        nir.write(content, graph)
        with atomic_write(path) as file:
            file.write(content.getvalue())
    return graph


def _run(sample: Tensor, model: nn.Module) -> Tensor:
    return model(sample)
