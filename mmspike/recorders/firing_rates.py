"""Firing rates per layer, measured while a model runs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmspike.neurons import BaseNeuron
from mmspike.recorders.spike_sums import RunningSums, SpikeSums
from mmspike.thread_hooks import of_this_thread


@dataclass(frozen=True)
class FiringRate:
    """The spikes of one neuron layer.

    Attributes:
        name: Name of the layer in the model.
        spikes: Number of spikes; an integer neuron that fires n counts n.
        active: Number of outputs that were not 0.
        outputs: Number of outputs: neurons x samples x time steps T.
    """

    name: str
    spikes: float
    active: float
    outputs: int

    @property
    def rate(self) -> float:
        """Spikes per neuron and time step. It counts the D of integer neurons, but not T."""
        return self.spikes / self.outputs if self.outputs else 0.0

    @property
    def active_fraction(self) -> float:
        """Share of outputs that were not 0."""
        return self.active / self.outputs if self.outputs else 0.0


class FiringRateRecorder:
    """Count spikes of every neuron layer of a model, over all batches run inside the block.

    Sums stay on the model's device until they are read, so that a GPU is never waited for. Calls by
    other threads than the one that opens the block are not counted.

    Args:
        model: A model with neurons of mmspike.

    Raises:
        ValueError: The model has none.

    Example:
        >>> import torch
        >>> from mmspike.neurons import SFA
        >>> neuron = SFA(D=4)
        >>> with FiringRateRecorder(torch.nn.Sequential(neuron)) as recorder:
        ...     _ = neuron(torch.tensor([[-1.0, 0.2, 2.0, 9.0]]))
        >>> [(rate.name, rate.rate, rate.active_fraction) for rate in recorder.rates()]
        [('0', 1.5, 0.5)]
    """

    def __init__(self, model: nn.Module) -> None:
        self._neurons = {
            name: module for name, module in model.named_modules() if isinstance(module, BaseNeuron)
        }
        if not self._neurons:
            raise ValueError(f'{type(model).__name__} has no neurons of mmspike to record')
        self._sums = RunningSums()
        self._outputs = dict.fromkeys(self._neurons, 0)
        self._handles: list = []

    def __enter__(self) -> 'FiringRateRecorder':
        for name, neuron in self._neurons.items():
            hook = of_this_thread(self._counter(name))
            self._handles.append(neuron.register_forward_hook(hook))
        return self

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _counter(self, name: str):
        def count(neuron: BaseNeuron, inputs: tuple, out: Tensor) -> None:
            # Whoever follows the model's functions need not know of these.
            with torch._C.DisableTorchFunction(), torch.no_grad():
                sums = SpikeSums(out, neuron.spike_value)
                active = sums.total if neuron.max_spikes == 1 else sums.active
                self._sums.add((name, 'spikes'), sums.total)
                self._sums.add((name, 'active'), active)
            self._outputs[name] += out.numel()

        return count

    def rates(self) -> list[FiringRate]:
        """Rates so far, in the order of the model; a layer that never ran has 0 outputs."""
        sums = self._sums.read()
        return [
            FiringRate(
                name, sums.get((name, 'spikes'), 0.0), sums.get((name, 'active'), 0.0), outputs
            )
            for name, outputs in self._outputs.items()
        ]
