"""Firing maps of a backbone, measured while a model runs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmspike.neurons import BaseNeuron
from mmspike.temporal import unfold_time
from mmspike.thread_hooks import of_this_thread


@dataclass(frozen=True)
class FiringMap:
    """The firing map of one stage of a backbone.

    Attributes:
        stage: Name of the stage.
        rates: Spikes per neuron and time step at each position, ``(B, h, w)``, float32, on the
            CPU. It is the mean over the channels of all neuron layers at the stage's resolution
            and over time; an integer neuron that fires n counts n.
        input_size: Height and width of what the backbone was given, padding included.
        steps: Spikes per neuron in each time step, ``(T, B, h, w)``, whose mean is ``rates``. None
            where it is not known: in a map of one step or slot, or where neurons of one stage run
            different numbers of steps.
        slots: Share of the neurons that fire more than 0, 1, ... D-1 spikes, as the mean over time,
            ``(D, B, h, w)``, whose sum is ``rates``. None unless it was asked for.
    """

    stage: str
    rates: Tensor
    input_size: tuple[int, int]
    steps: Tensor | None = None
    slots: Tensor | None = None

    @property
    def stride(self) -> int:
        """Pixels of the backbone's input per position of the map."""
        return round(self.input_size[0] / self.rates.shape[-2])

    @property
    def mean(self) -> float:
        """Mean firing rate, padding included."""
        return self.rates.mean().item()

    def on_image(self, height: int, width: int, index: int = 0) -> Tensor:
        """The map of one sample, as large as its image.

        Args:
            height: Height of the image before the hosts padded it at the bottom and at the right.
            width: Its width.
            index: Which sample.

        Returns:
            ``(height, width)``; every position of the map is a block of equal pixels.

        Raises:
            ValueError: The image is larger than what the backbone was given.
        """
        if height > self.input_size[0] or width > self.input_size[1]:
            raise ValueError(
                f'an image of {height}x{width} pixels does not lie within the input of '
                f'{self.input_size[0]}x{self.input_size[1]}'
            )
        return spread(self.rates[index], self.input_size)[:height, :width]

    def per_step(self) -> list['FiringMap']:
        """The map of each time step.

        Raises:
            ValueError: The steps are not known.
        """
        if self.steps is None:
            raise ValueError(f'the map of {self.stage} has no values per time step')
        return [FiringMap(self.stage, rates, self.input_size) for rates in self.steps]

    def per_slot(self) -> list['FiringMap']:
        """The map of each slot: of the spikes that a neuron fires as its first, second, ...

        Raises:
            ValueError: The slots were not recorded.
        """
        if self.slots is None:
            raise ValueError(
                f'the map of {self.stage} has no values per slot; record it with slots=True'
            )
        return [FiringMap(self.stage, rates, self.input_size) for rates in self.slots]


def spread(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a map ``(h, w)`` to ``(H, W)``, every position a block of equal pixels."""
    return functional.interpolate(values[None, None], size, mode='nearest-exact')[0, 0]


def spiking_stages(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model's backbone that hold neurons, by name; none for a stock backbone.

    They are the members of ``backbone.stages``, or, where there is no such attribute, the
    backbone's own children. A model without ``backbone`` is taken as one.
    """
    backbone = getattr(model, 'backbone', model)
    stages = getattr(backbone, 'stages', None)
    parts = (
        list(backbone.named_children())
        if stages is None
        else [(f'stage {name}', stage) for name, stage in stages.named_children()]
    )
    return {name: part for name, part in parts if _neurons(part)}


def _neurons(module: nn.Module) -> list[BaseNeuron]:
    return [part for part in module.modules() if isinstance(part, BaseNeuron)]


@dataclass
class _Count:
    """Spikes of neuron layers with maps of one size and equal T, summed over layers and channels.

    Attributes:
        spikes: ``(T, B, h, w)``.
        neurons: Neurons per position.
        slots: One ``(B, h, w)`` per slot, summed over time.
    """

    spikes: Tensor = field(default_factory=lambda: torch.zeros(()))
    neurons: int = 0
    slots: list[Tensor] = field(default_factory=list)

    def add(self, counts: Tensor, slots: Iterator[Tensor]) -> None:
        """Add a layer's spikes ``(T, B, C, h, w)`` and, from the first on, its slots."""
        self.spikes = self.spikes + counts.sum(dim=2, dtype=torch.float32)
        self.neurons += counts.shape[2]
        for i, slot in enumerate(slots):
            fired = slot.sum(dim=(0, 2), dtype=torch.float32)
            # A layer may have more slots than those before it.
            if i < len(self.slots):
                self.slots[i] = self.slots[i] + fired
            else:
                self.slots.append(fired)


@dataclass(frozen=True)
class _Run:
    """Spikes of a stage in one run: the tensors of a :class:`FiringMap`, on any device."""

    rates: Tensor
    steps: Tensor | None
    slots: Tensor | None

    @classmethod
    def of(cls, counts: list[_Count]) -> '_Run':
        """Sum layers of one size, where they run different numbers of steps as well."""
        outputs = sum(one.neurons * len(one.spikes) for one in counts)
        rates = cast(Tensor, sum(one.spikes.sum(dim=0) for one in counts)) / outputs
        steps = counts[0].spikes / counts[0].neurons if len(counts) == 1 else None
        slots = None
        if any(one.slots for one in counts):
            all_slots: Iterable = zip_longest(*(one.slots for one in counts), fillvalue=0.0)
            slots = torch.stack([sum(fired) for fired in all_slots]) / outputs
        return cls(rates, steps, slots)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """``(n, B, h, w)`` of several runs along B; None where one is, or where n differs."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({len(part) for part in known}) > 1:
        return None
    return torch.cat(known, dim=1).cpu()


class FiringMapRecorder:
    """Record where every stage of a model's backbone fires, for all images run inside the block.

    A stage is looked at where its output is: neurons that still see maps of another size, such as
    those before a down-sampling convolution, are left out.

    Args:
        model: A model with a ``backbone``, or a backbone.
        slots: Look at the slots of integer neurons as well, which takes D passes over each output.

    Raises:
        ValueError: The backbone has no neurons of mmspike.

    Example:
        >>> import torch
        >>> from mmspike.backbones import MetaSpikformer
        >>> net = MetaSpikformer('tiny').eval()
        >>> with FiringMapRecorder(net) as recorder, torch.no_grad():
        ...     _ = net(torch.rand(2, 3, 64, 64))
        >>> [(m.stage, m.stride, tuple(m.rates.shape)) for m in recorder.maps()][-1]
        ('stage 4', 16, (2, 4, 4))
    """

    def __init__(self, model: nn.Module, *, slots: bool = False) -> None:
        self._backbone = getattr(model, 'backbone', model)
        self._stages = spiking_stages(model)
        if not self._stages:
            raise ValueError(f'{type(self._backbone).__name__} has no neurons of mmspike to record')
        self._input_size = (0, 0)
        self._slots = slots
        # Of the stages that are running: what they fired, by (h, w) and T.
        self._running: dict[str, dict[tuple[int, int], dict[int, _Count]]] = {}
        self._runs: dict[str, list[_Run]] = {name: [] for name in self._stages}
        self._handles: list = []

    def __enter__(self) -> 'FiringMapRecorder':
        hooks = [self._backbone.register_forward_pre_hook(of_this_thread(self._measure_input))]
        for name, stage in self._stages.items():
            hooks.append(stage.register_forward_pre_hook(of_this_thread(self._opener(name))))
            hooks.extend(
                n.register_forward_hook(of_this_thread(self._counter(name)))
                for n in _neurons(stage)
            )
            hooks.append(stage.register_forward_hook(of_this_thread(self._closer(name))))
        self._handles = hooks
        return self

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._running.clear()

    def _measure_input(self, backbone: nn.Module, inputs: tuple) -> None:
        size = tuple(inputs[0].shape[-2:])
        if any(self._runs.values()) and size != self._input_size:
            raise ValueError(
                f'firing maps of inputs of different size, {self._input_size} and {size}, cannot '
                'be recorded together'
            )
        self._input_size = size

    def _opener(self, name: str):
        def begin(stage: nn.Module, inputs: tuple) -> None:
            self._running[name] = {}

        return begin

    def _counter(self, name: str):
        @torch.no_grad()
        def count(neuron: BaseNeuron, inputs: tuple, out: Tensor) -> None:
            # A shared neuron may run for another stage, a recomputed one for the backward pass.
            if name not in self._running or out.dim() != 4:
                return
            counts = unfold_time(out, neuron.timesteps) / neuron.spike_value
            height, width = out.shape[-2:]
            by_steps = self._running[name].setdefault((height, width), {})
            total = by_steps.setdefault(neuron.timesteps, _Count())
            # Halves lie between the whole numbers, however a spike's value was rounded.
            thresholds = range(neuron.max_spikes if self._slots else 0)
            total.add(counts, (counts > i + 0.5 for i in thresholds))

        return count

    def _closer(self, name: str):
        def end(stage: nn.Module, inputs: tuple, out: Tensor) -> None:
            height, width = out.shape[-2:]
            counts = self._running.pop(name).get((height, width))
            if counts:
                self._runs[name].append(_Run.of(list(counts.values())))

        return end

    def maps(self) -> list[FiringMap]:
        """Maps so far, in the order of the stages; those of later runs follow along B.

        A stage that never ran, or has no neuron at the resolution of its output, is left out.
        """
        return [
            FiringMap(
                name,
                torch.cat([run.rates for run in runs]).cpu(),
                self._input_size,
                _joined([run.steps for run in runs]),
                _joined([run.slots for run in runs]),
            )
            for name, runs in self._runs.items()
            if runs
        ]
