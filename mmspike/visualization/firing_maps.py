"""Where on the image a backbone fires, measured while a model runs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmspike.neurons import BaseNeuron
from mmspike.temporal import unfold_time


@dataclass(frozen=True)
class FiringMap:
    """Where one stage of a backbone fired.

    Attributes:
        stage: Name of the stage.
        rates: Spikes per neuron and time step at each position, ``(B, h, w)``, float32, on the
            CPU. It is the mean over the channels of all neuron layers at the stage's resolution
            and over time; an integer neuron that fires n counts n.
        input_size: Height and width of what the backbone was given, padding included.
    """

    stage: str
    rates: Tensor
    input_size: tuple[int, int]

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
        whole = functional.interpolate(
            self.rates[index][None, None], self.input_size, mode='nearest-exact'
        )
        return whole[0, 0, :height, :width]


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


class FiringMapRecorder:
    """Record where every stage of a model's backbone fires, for all images run inside the block.

    A stage is looked at where its output is: neurons that still see maps of another size, such as
    those before a down-sampling convolution, are left out.

    Args:
        model: A model with a ``backbone``, or a backbone.

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

    def __init__(self, model: nn.Module) -> None:
        self._backbone = getattr(model, 'backbone', model)
        self._stages = spiking_stages(model)
        if not self._stages:
            raise ValueError(f'{type(self._backbone).__name__} has no neurons of mmspike to record')
        self._input_size = (0, 0)
        # Of the stages that are running: spikes (B, h, w) and neurons per position, by (h, w).
        self._running: dict[str, dict[tuple[int, int], tuple[Tensor, int]]] = {}
        self._rates: dict[str, list[Tensor]] = {name: [] for name in self._stages}
        self._handles: list = []

    def __enter__(self) -> 'FiringMapRecorder':
        hooks = [self._backbone.register_forward_pre_hook(self._measure_input)]
        for name, stage in self._stages.items():
            hooks.append(stage.register_forward_pre_hook(self._opener(name)))
            hooks.extend(n.register_forward_hook(self._counter(name)) for n in _neurons(stage))
            hooks.append(stage.register_forward_hook(self._closer(name)))
        self._handles = hooks
        return self

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._running.clear()

    def _measure_input(self, backbone: nn.Module, inputs: tuple) -> None:
        size = tuple(inputs[0].shape[-2:])
        if any(self._rates.values()) and size != self._input_size:
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
            steps = unfold_time(out, neuron.timesteps)
            spikes = steps.sum(dim=(0, 2), dtype=torch.float32) / neuron.step_value
            maps, size = self._running[name], tuple(out.shape[-2:])
            known, neurons = maps.get(size, (0, 0))
            maps[size] = known + spikes, neurons + steps.shape[0] * steps.shape[2]

        return count

    def _closer(self, name: str):
        def end(stage: nn.Module, inputs: tuple, out: Tensor) -> None:
            maps = self._running.pop(name)
            if tuple(out.shape[-2:]) in maps:
                spikes, neurons = maps[tuple(out.shape[-2:])]
                self._rates[name].append(spikes / neurons)

        return end

    def maps(self) -> list[FiringMap]:
        """Maps so far, in the order of the stages; those of later runs follow along B.

        A stage that never ran, or has no neuron at the resolution of its output, is left out.
        """
        return [
            FiringMap(name, torch.cat(rates).cpu(), self._input_size)
            for name, rates in self._rates.items()
            if rates
        ]
