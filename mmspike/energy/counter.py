"""Counting the operations of a model while it runs on real data."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from threading import get_ident
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmspike.energy.counts import EnergyCounts, LayerCount, NeuronCount
from mmspike.energy.encoded import as_sent
from mmspike.energy.origin import neuron_kinds
from mmspike.energy.rules import REAL_FUNCTIONS, RULES, UNCOUNTED, Work, of_one, sums_of
from mmspike.execution.encodings import THERMOMETER, get_encoding
from mmspike.execution.spike_driven import INTEGER, get_execution
from mmspike.execution.spike_flow import SpikeFlow
from mmspike.execution.spike_train import SpikeTrain, unmarked, without_flow
from mmspike.execution.torch_functions import WEIGHT_LAYERS
from mmspike.layers.rep_conv import RepConv
from mmspike.neurons import BaseNeuron
from mmspike.recorders.spike_sums import RunningSums
from mmspike.temporal import steps_of_work

# What functions are called by that run in the model itself, or in none of its modules.
MODEL, OUTSIDE = '(model)', '(outside of modules)'


class UncountedError(RuntimeError):
    """The model has multiplications that were not counted, or layers that never ran."""


class EnergyCounter(SpikeFlow):
    """Inside the block, the operations of every layer are counted, over all batches.

    Of layers that take spikes it counts synaptic operations, exactly: each spike times the
    connections that leave its neuron. Of layers that take other values, such as the first
    convolution, it counts MACs. The results of the model do not change, in training, in
    evaluation and in spike-driven execution, whose counts are the same. Where spikes mask spikes
    (``a * b``), each spike that is kept or dropped is one operation; where spikes are summed along
    some dimensions, each is one addition. Norms, pooling, softmax and sums of membranes are not
    counted. Neither are recomputations of activation checkpointing, nor the inside of a neuron
    without weights: its updates are counted.

    Sums stay on the model's device until they are read, so that a GPU is never waited for.

    Only calls by the thread that opens the block are counted. Other threads may use the model
    meanwhile, and may count their own calls with a counter of their own.

    Args:
        model: Any model; without neurons of mmspike all layers are analog.
        strict: Raise at the end of the block where something could not be counted.
        encoding: How integers are sent: by ``'spike'``, n is n spikes; for others see
            :mod:`mmspike.execution.encodings`. It is counted on the integers, however the model
            runs. By default it is that of the model's execution.

    Attributes:
        samples: Samples so far, read from the first tensor or list that ``model`` was called with.
            Set it if the model was called otherwise than by ``model(...)``.

    Raises:
        ValueError: The encoding is unknown.
        UncountedError: With ``strict``, when the block ends: a function was called that multiplies
            and is not understood (:data:`~mmspike.energy.rules.UNCOUNTED`), or a module with
            weights never ran.
        CompiledError: When the block begins: the model, or a part of it, is compiled. Inside the
            block: a call of the model is compiled, exported or traced.
        RuntimeError: When the block begins: the counter is open already.

    Example:
        >>> import torch
        >>> from mmspike.neurons import SFA
        >>> net = torch.nn.Sequential(SFA(D=4), torch.nn.Linear(3, 2)).eval()
        >>> with EnergyCounter(net) as counter:
        ...     _ = net(torch.tensor([[0.3, 1.2, 9.0]]))
        >>> counter.counts().layers['1'].sops  # 0, 1 and 4 spikes, each to two neurons
        10.0
    """

    watches_only = True

    def __init__(self, model: nn.Module, strict: bool = False, encoding: str | None = None) -> None:
        super().__init__(model)
        if encoding is None:
            execution = get_execution(model)
            encoding = THERMOMETER.name if execution == INTEGER else execution
        self._encoding = get_encoding(encoding)
        self.strict = strict
        self.samples = 0
        self._model = model
        self._batch = 0  # samples of the call that runs
        self._ordinals: list[int] = []
        self._layers: dict[str, LayerCount] = {}
        self._neurons = {
            name: NeuronCount() for m, name in self._names.items() if isinstance(m, BaseNeuron)
        }
        # Keys are 'layer' or 'neuron', name, field of the count.
        self._sums = RunningSums()
        self._uncounted: dict[str, int] = {}
        self._real: dict[str, int] = {}
        self._shapes: Counter[torch.Size] = Counter()
        self._weighted = _modules_with_weights(self._names)
        self._ran: set[nn.Module] = set()
        self._counted: set[nn.Module] = set()

    def register(self, hooks: ExitStack) -> None:
        super().register(hooks)
        before = self._model.register_forward_pre_hook(self._count_samples, with_kwargs=True)
        hooks.callback(before.remove)
        hooks.callback(self._model.register_forward_hook(self._unmark).remove)

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self._ordinals.clear()
        if self.strict and not any(exc_info):
            self.check()

    def check(self) -> None:
        """Raise if something could not be counted.

        Raises:
            UncountedError: It names what.
        """
        counts = self.counts()
        problems = []
        if counts.uncounted:
            problems.append(f'not understood: {", ".join(counts.uncounted)}')
        if counts.never_called:
            problems.append(f'never called: {", ".join(counts.never_called)}')
        if problems:
            raise UncountedError(
                f'the energy of {type(self._model).__name__} is not complete; {"; ".join(problems)}'
            )

    def counts(self) -> EnergyCounts:
        """All sums so far, as plain numbers. This waits for the device."""
        with without_flow():
            sums = self._sums.read()
        return EnergyCounts(
            samples=self.samples,
            layers={
                name: replace(
                    count,
                    spikes=sums.get(('layer', name, 'spikes'), 0.0),
                    sops=sums.get(('layer', name, 'sops'), 0.0),
                )
                for name, count in self._layers.items()
            },
            neurons={
                name: replace(
                    count,
                    spikes=sums.get(('neuron', name, 'spikes'), 0.0),
                    active=sums.get(('neuron', name, 'active'), 0.0),
                )
                for name, count in self._neurons.items()
            },
            uncounted={**self._uncounted, **self._silent()},
            real_functions=dict(self._real),
            input_shapes={'x'.join(map(str, size)): n for size, n in self._shapes.items()},
            neuron_kinds=neuron_kinds(self._names),
            encoding=self._encoding.name,
            never_called=[
                name for module, name in self._weighted.items() if module not in self._ran
            ],
        )

    def reset(self) -> None:
        """Reset all sums."""
        self.samples = 0
        self._neurons = {name: NeuronCount() for name in self._neurons}
        for sums in (
            self._sums, self._layers, self._uncounted, self._real, self._shapes, self._ran,
            self._counted,
        ):  # fmt: skip
            sums.clear()

    def _silent(self) -> dict[str, int]:
        """Modules with weights that ran without any function that is known to multiply.

        Operators of extensions, such as deformable convolutions, are not seen as functions.
        """
        seen = {name.partition(': ')[0] for name in self._uncounted}
        return {
            f'{name or MODEL}: {type(module).__name__}': 1
            for module, name in self._weighted.items()
            if module in self._ran and module not in self._counted and (name or MODEL) not in seen
        }

    @property
    def _where(self) -> str:
        """Name of the innermost module that is running, for a table."""
        return (self.layer or MODEL) if self._modules else OUTSIDE

    def _enter_module(self, module: nn.Module, inputs: tuple) -> tuple | None:
        entered = super()._enter_module(module, inputs)
        if self._thread == get_ident():
            self._ordinals.append(0)
            self._ran.add(module)
        return entered

    def _leave_module(self, module: nn.Module, inputs: tuple, out: object) -> None:
        if self._thread == get_ident() and self._modules and self._modules[-1] is module:
            self._ordinals.pop()
        super()._leave_module(module, inputs, out)

    def _count_samples(self, module: nn.Module, args: tuple, kwargs: dict | None = None) -> None:
        # A thread that calls the model while another closes the counter may find the hook without
        # the note that it takes kwargs.
        if self._thread != get_ident():
            return
        for value in (*args, *(kwargs or {}).values()):
            if isinstance(value, Mapping):
                value = next((x for x in tree_leaves(dict(value)) if isinstance(x, Tensor)), None)
            if isinstance(value, list | tuple) or (isinstance(value, Tensor) and value.dim()):
                self.samples += len(value)
                self._batch = len(value)
                self._count_shape(value)
                return

    def _count_shape(self, batch: Tensor | list | tuple) -> None:
        if isinstance(batch, Tensor):
            self._shapes[batch.shape[1:]] += len(batch)
        else:
            self._shapes.update(sample.shape for sample in batch if isinstance(sample, Tensor))

    @staticmethod
    def _unmark(module: nn.Module, inputs: tuple, out: Any) -> Any:
        """Remove the marks of spikes from the model's outputs."""
        return unmarked(out) if any(isinstance(x, SpikeTrain) for x in tree_leaves(out)) else None

    def _mark(self, neuron: BaseNeuron, inputs: tuple, out: Tensor) -> SpikeTrain | None:
        train = super()._mark(neuron, inputs, out)
        if train is not None and not _in_backward():
            with without_flow(), torch.no_grad():
                self._count_neuron(self._names[neuron], as_sent(train, self._encoding))
        return train

    def _count_neuron(self, name: str, train: SpikeTrain) -> None:
        sums = sums_of(train)
        active = sums.total if train.max_spikes == 1 else sums.active
        self._sums.add(('neuron', name, 'spikes'), sums.total)
        self._sums.add(('neuron', name, 'active'), active)
        self._neurons[name] = self._neurons[name] + NeuronCount(
            max_spikes=train.max_spikes,
            outputs_once=train.numel() / train.timesteps,
            updates=train.numel(),
            size=of_one(train, train.numel()),
        )

    def watch(self, func: Callable, args: tuple, kwargs: dict) -> None:
        function = getattr(func, '__name__', '')
        rule = RULES.get(function)
        if rule is None and function not in UNCOUNTED and function not in REAL_FUNCTIONS:
            return
        if _in_backward() or steps_of_work() == 0:
            return
        with without_flow(), torch.no_grad():
            if rule is not None:
                args = tuple(as_sent(x, self._encoding) for x in args)
                kwargs = {key: as_sent(x, self._encoding) for key, x in kwargs.items()}
                work = rule(function, args, kwargs)
                if work is not None:
                    self._record(self._name_of(function, work), work)
            elif function in REAL_FUNCTIONS:
                name, x = f'{self._where}: {function}', (*args, *kwargs.values())[0]
                self._real[name] = self._real.get(name, 0) + x.numel()
            else:
                name = f'{self._where}: {function}'
                self._uncounted[name] = self._uncounted.get(name, 0) + 1

    def _name_of(self, function: str, work: Work) -> str:
        """The name of a call: its layer, or its module with the place of the call in it."""
        if function in WEIGHT_LAYERS:
            if self._modules:
                self._counted.add(self._modules[-1])
            return self._where
        if not self._ordinals:
            return f'{self._where}: {work.kind}'
        self._ordinals[-1] += 1
        return f'{self._where}: {work.kind} {self._ordinals[-1]}'

    def _record(self, name: str, work: Work) -> None:
        """Add up one call."""
        x = work.x
        steps = self._steps() if x is None else x.timesteps
        rows = work.outputs / max(work.output_size, 1)
        if name in self._layers and self._layers[name].kind != work.kind:
            name = f'{name}: {work.kind}'
        self._layers[name] = self._layers.get(name, LayerCount(kind=work.kind)) + LayerCount(
            kind=work.kind,
            calls=1,
            macs=work.macs,
            analog_macs=work.macs if x is None else 0,
            macs_once=work.macs / steps,
            inputs=0 if x is None else x.numel(),
            shifts=0 if x is None else work.outputs * self._encoding.shifts(x.max_spikes),
            analog_inputs=work.analog_inputs,
            outputs=work.outputs,
            weights=work.weights,
            input_size=work.input_size,
            output_size=work.output_size,
            images=0 if steps == math.inf else self._batch or round(rows / steps),
            max_spikes=0 if x is None else x.max_spikes,
            other_max_spikes=work.other_max_spikes,
            kernel=work.kernel,
            output_shape=work.output_shape,
        )
        if x is not None:
            self._sums.add(('layer', name, 'spikes'), cast(Tensor, work.spikes))
            self._sums.add(('layer', name, 'sops'), cast(Tensor, work.connected), work.repeats)

    def _steps(self) -> float:
        """Time steps of a layer without spikes: those of the spiking part that it belongs to."""
        said = steps_of_work()
        if said is not None:
            return said
        for module in reversed(self._modules):
            steps = getattr(module, 'total_timesteps', None)
            if steps is not None:
                return steps
        return 1


def _modules_with_weights(names: dict[nn.Module, str]) -> dict[nn.Module, str]:
    """Modules with their own matrix or kernel, which should multiply by it."""
    inside = {
        child
        for module in names
        if isinstance(module, nn.MultiheadAttention | RepConv)
        for child in module.modules()
        if child is not module
    }
    return {
        module: name
        for module, name in names.items()
        if module not in inside
        and not isinstance(module, nn.Embedding | nn.EmbeddingBag)
        and any(
            key.startswith(('weight', 'in_proj_weight', 'q_proj_weight')) and weight.dim() > 1
            for key, weight in module.named_parameters(recurse=False)
        )
    }


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1
