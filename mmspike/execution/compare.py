"""Differences between spike-driven and integer execution, layer by layer."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.execution.spike_driven import INTEGER, get_execution, set_execution
from mmspike.neurons import BaseNeuron
from mmspike.thread_hooks import of_this_thread

# For pages that show answers of both executions side by side.
ROUNDING_NOTE = (
    'Both executions add the same numbers in different orders, so the last bit is rounded '
    'differently. A membrane in the middle between two integers may then round to the other '
    'one, and the neuron fires one spike more or less. float64 has almost no such ties.'
)


@dataclass(frozen=True)
class LayerDifference:
    """One layer's outputs in both executions.

    Attributes:
        layer: Its name.
        largest: Largest absolute difference.
        scale: Largest absolute output in integer execution.
        spikes: Of a neuron layer, the outputs that differ; None for others.
        outputs: Number of outputs.
    """

    layer: str
    largest: float
    scale: float
    spikes: int | None
    outputs: int


@contextmanager
def _outputs_of(model: nn.Module, into: dict[str, list[Tensor]]):
    """Collect the outputs of convolutions, linear layers and neurons, as this thread calls them."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear, BaseNeuron)

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple, out: Tensor) -> None:
            into.setdefault(name, []).append(out.detach().as_subclass(Tensor).clone())

        return hook

    handles = [
        module.register_forward_hook(of_this_thread(keep(name)))
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def layer_outputs(
    model: nn.Module, run: Callable[[], Any], execution: str
) -> dict[str, list[Tensor]]:
    """Outputs of all convolutions, linear layers and neurons in one execution, call by call.

    Args:
        model: A model in evaluation mode. Its execution and its state are left as they were.
        run: Calls the model.
        execution: One of :data:`~mmspike.execution.EXECUTIONS`.
    """
    before = get_execution(model)
    # Stateful neurons go on from the same membranes each time.
    states = {m: m.v for m in model.modules() if isinstance(m, BaseNeuron)}
    outputs: dict[str, list[Tensor]] = {}
    try:
        set_execution(model, execution)
        with _outputs_of(model, outputs):
            run()
    finally:
        set_execution(model, before)
        for neuron, v in states.items():
            neuron.v = v
    return outputs


@torch.no_grad()
def compare_executions(
    model: nn.Module, run: Callable[[], Any], execution: str = 'spike'
) -> list[LayerDifference]:
    """Run a model on integers and on spikes and compare the outputs of every layer.

    Where arithmetic is exact (weights that are multiples of one power of two, for instance),
    nothing differs. Elsewhere sums are rounded in another order; now and then a membrane lies so
    near to the middle between two integers that a neuron then fires one spike more or less.

    Args:
        model: A model in evaluation mode. Its execution and its state are left as they were.
        run: Calls the model, the same way each time.
        execution: The one on spikes, of :data:`~mmspike.execution.EXECUTIONS`.

    Returns:
        The differences, in the order in which the layers first ran. Layers that spikes do not pass
        one by one (those inside a :class:`~mmspike.layers.RepConv`) are left out.

    Raises:
        ValueError: The model is in training mode, the execution is unknown, or a layer ran for
            other shapes the second time, as in a detector that found other regions.
    """
    if model.training:
        raise ValueError('spike-driven execution is for evaluation: call model.eval() first')
    integers, spikes = (layer_outputs(model, run, one) for one in (INTEGER, execution))
    neurons = {name for name, m in model.named_modules() if isinstance(m, BaseNeuron)}
    differences = []
    for name, ours in integers.items():
        if name not in spikes:
            continue  # inside of a chain that takes spikes as one convolution
        theirs = spikes[name]
        if [x.shape for x in ours] != [x.shape for x in theirs]:
            raise ValueError(f'{name} ran for other shapes in spike-driven execution')
        a, b = (torch.cat([x.flatten() for x in xs]) for xs in (ours, theirs))
        gap = (a - b).abs()
        differences.append(
            LayerDifference(
                name,
                largest=gap.max().item() if gap.numel() else 0.0,
                scale=a.abs().max().item() if a.numel() else 0.0,
                spikes=int(gap.count_nonzero()) if name in neurons else None,
                outputs=a.numel(),
            )
        )
    return differences
