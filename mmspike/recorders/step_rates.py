"""Firing rates by time step, and by slot of spike-driven execution, measured while a model runs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmspike.neurons import BaseNeuron
from mmspike.temporal import unfold_time
from mmspike.thread_hooks import of_this_thread


@dataclass(frozen=True)
class StepRates:
    """One layer of neurons.

    Attributes:
        name: Name of the layer.
        rates: Share of the neurons that fire in a slot of a step: slot i is 1 where more than i
            spikes were fired ``(T, D)``, float64. The sum over slots is the rate of a step.
    """

    name: str
    rates: Tensor

    @property
    def by_step(self) -> list[float]:
        """Spikes per neuron at each time step, T numbers; integers count as many spikes."""
        return self.rates.sum(1).tolist()

    @property
    def by_slot(self) -> list[float]:
        """Share of the neurons that fire in each slot, D numbers, the mean over all steps."""
        return self.rates.mean(0).tolist()


class StepRateRecorder:
    """Record the firing rates of all layers of neurons by step and slot, inside the block.

    Neurons that carry their state from call to call, as in a simulation in chunks, go on counting
    their steps until the model is called again. Calls by other threads than the one that opens the
    block are not recorded.

    Args:
        model: A model with neurons of mmspike.

    Example:
        >>> import torch
        >>> from mmspike.neurons import SFA
        >>> net = torch.nn.Sequential(SFA(D=2))
        >>> with StepRateRecorder(net) as recorder:
        ...     _ = net(torch.tensor([[0.0, 1.0, 2.0, 2.0]]))
        >>> recorder.rates()[0].by_slot
        [0.75, 0.5]
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._neurons = {
            name: module for name, module in model.named_modules() if isinstance(module, BaseNeuron)
        }
        self._spikes: dict[str, list[Tensor]] = {name: [] for name in self._neurons}
        self._outputs: dict[str, list[int]] = {name: [] for name in self._neurons}
        self._next = dict.fromkeys(self._neurons, 0)
        self._handles: list = []

    def __enter__(self) -> 'StepRateRecorder':
        begin = of_this_thread(self._begin)
        self._handles.append(self._model.register_forward_pre_hook(begin))
        for name, neuron in self._neurons.items():
            record = of_this_thread(self._recorder(name))
            self._handles.append(neuron.register_forward_hook(record))
        return self

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin(self, module: nn.Module, inputs: tuple) -> None:
        self._next = dict.fromkeys(self._neurons, 0)

    def _recorder(self, name: str):
        def record(neuron: BaseNeuron, inputs: tuple, out: Tensor) -> None:
            if not out.numel():  # such as the head of a detector that found no regions
                return
            with torch._C.DisableTorchFunction(), torch.no_grad():
                steps = unfold_time(out, neuron.timesteps).flatten(1)
                ends = [(i + 0.5) * neuron.spike_value for i in range(neuron.max_spikes)]
                slots = [torch.count_nonzero(steps > end, dim=1) for end in ends]
                if not neuron.stateful:
                    self._next[name] = 0  # the call begins at rest
                self._add(name, torch.stack(slots, 1).double(), steps.shape[1])

        return record

    def _add(self, name: str, spikes: Tensor, outputs: int) -> None:
        """Add the spikes ``(T, D)`` of a call, of so many outputs at every step."""
        known, numbers = self._spikes[name], self._outputs[name]
        for slots in spikes:
            place = self._next[name]
            if place == len(known):
                known.append(torch.zeros_like(slots))
                numbers.append(0)
            known[place] = known[place] + slots
            numbers[place] += outputs
            self._next[name] += 1

    def rates(self) -> list[StepRates]:
        """Rates so far, in the order of the model, of the layers that ran."""
        return [
            StepRates(name, torch.stack(spikes).cpu() / torch.tensor(numbers)[:, None])
            for name, spikes in self._spikes.items()
            if (numbers := self._outputs[name])
        ]
