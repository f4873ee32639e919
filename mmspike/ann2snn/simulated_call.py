"""One call of a simulated model: the state that its chunks of time steps share."""

import math
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from mmspike.ann2snn.constant import ConstantLayers, repeat
from mmspike.ann2snn.read_out import KeptScores, RunningMeans
from mmspike.neurons import SpikingQCFS
from mmspike.temporal import TemporalModule, encode_input, work_of_steps


class Options(Protocol):
    """The settings that a call takes from its :class:`~mmspike.ann2snn.simulation.Simulation`."""

    timesteps: int
    chunk: int
    input_module: str
    readout_module: str
    scores_module: str | None
    patience: int | None
    readouts: int


class SimulatedCall:
    """Runs the model once per chunk, only up to the neck where this is sufficient.

    The model's modules report to it (see :class:`~mmspike.ann2snn.simulation.Simulation`) while
    it runs. The last chunk's outputs are those of the call.

    Args:
        simulation: The options.
        model: The simulated model.
    """

    def __init__(self, simulation: Options, model: nn.Module) -> None:
        self.thread = threading.get_ident()
        self.scores = KeptScores(None if model.training else simulation.patience)
        self._options = simulation
        self._model: Any = model  # one of a host, which has more than nn.Module
        self._total = simulation.timesteps
        self._chunk = simulation.timesteps if model.training else simulation.chunk
        self._means = RunningMeans()
        self._membranes: dict[tuple[nn.Module, int], Tensor] = {}
        self._constant = ConstantLayers(model)
        # The hosts' models have a method for the part up to their neck.
        inside = (simulation.input_module, simulation.readout_module.partition('.')[0])
        self._ends_at_neck = (
            hasattr(model, 'extract_feat')
            and inside in (('backbone', 'backbone'), ('backbone', 'neck'))
            and simulation.scores_module is None
        )
        self._begin_chunk(0)

    def _begin_chunk(self, done: int) -> None:
        self._done = done  # steps before this chunk
        self._length = min(self._chunk, self._total - done)  # steps of this chunk
        self._means.begin_chunk()
        self._encoded = False  # whether this chunk's input was repeated
        self._calls: dict[nn.Module, int] = {}  # of neurons
        self._readouts_done = 0
        self._behind = ExitStack()  # contexts of the part behind the read-out

    def run(self, forward: Callable, args: tuple, kwargs: dict) -> Any:
        """All chunks.

        Args:
            forward: The model's own forward.
            args: Of the call.
            kwargs: Of the call.

        Raises:
            RuntimeError: A module was called in another way than a simulation needs.
        """
        neurons = [module for module in self._model.modules() if isinstance(module, SpikingQCFS)]
        try:
            for neuron in neurons:
                neuron.stateful = not self._model.training
            with self._constant:
                for done in range(0, self._total, self._chunk):
                    self._begin_chunk(done)
                    # A network without time does the work of one step: energy accounting takes it
                    # from the first chunk, by dividing, and nothing from the others.
                    with work_of_steps(math.inf if done else self._length):
                        out = self._run_chunk(forward, args, kwargs)
                    if self._is_last:
                        break
            return out
        finally:
            for neuron in neurons:
                neuron.stateful = False
                neuron.reset()
            self._set_timesteps(self._total)

    def _run_chunk(self, forward: Callable, args: tuple, kwargs: dict) -> Any:
        options = self._options
        self._set_timesteps(self._length)
        with self._behind:
            if self._ends_at_neck and not self._is_last:
                out = self._model.extract_feat(args[0] if args else kwargs['inputs'])
            else:
                inputs = args if options.input_module else self.encoded(self._model, args)
                out = forward(*inputs, **kwargs)
            if options.readout_module and not self._readouts_done:
                raise RuntimeError(
                    f'the read-out ({options.readout_module}) was not called: choose a module that '
                    'the model calls in this mode'
                )
            # A model has no hooks here: it is being called already.
            if not options.readout_module:
                out = self.read_out(out)
            return self.keep_scores(out) if options.scores_module == '' else out

    def _set_timesteps(self, timesteps: int) -> None:
        for module in self._model.modules():
            if module is not self._options and isinstance(module, TemporalModule):
                module.timesteps = timesteps

    @property
    def _is_last(self) -> bool:
        return self._done + self._length == self._total or self.scores.are_stable()

    def encoded(self, module: nn.Module, args: tuple) -> tuple:
        """The input of this chunk's steps, of the module that time begins with."""
        input_module = self._options.input_module
        first = next((x for x in tree_leaves(args) if isinstance(x, Tensor)), None)
        if first is None:
            raise TypeError(
                f'the input of {input_module or "the model"} holds no tensor: name the module that '
                'takes the images (input_module)'
            )
        if self._encoded:
            raise RuntimeError(
                f'{input_module} was called twice in one call of the model, as by sliding windows '
                "and test-time augmentation: let the model see whole images (mode='whole')"
            )
        self._encoded = True
        frames = first.dim() == 5
        self._constant.begin_chunk(self._length, len(first), holds=not frames)
        if frames and first.shape[1] != self._total:
            raise ValueError(
                f'the input holds {first.shape[1]} frames (shape {tuple(first.shape)}, read as '
                f'(B, T, C, H, W)) but the simulation runs T={self._total} steps'
            )
        own = isinstance(module, TemporalModule)

        def encode_one(x: Tensor) -> Tensor:
            if x.dim() == 5:
                x = x[:, self._done : self._done + self._length]
            if own:
                return x
            return encode_input(x, self._length) if x.dim() == 5 else repeat(x, self._length)

        return tree_map(lambda x: encode_one(x) if isinstance(x, Tensor) else x, args)

    def before_neuron(self, neuron: SpikingQCFS) -> None:
        """Restore the neuron's membrane from the last chunk at this place of the model."""
        self._constant.holds = False
        if self._readouts_done:
            names = {module: name for name, module in self._model.named_modules()}
            raise RuntimeError(
                f'{names[neuron]} is a neuron behind the read-out '
                f'({self._options.readout_module}), where there are no time steps: read out '
                'later, or do not convert the activations there (exclude)'
            )
        if neuron.stateful:
            place = (neuron, self._calls.get(neuron, 0))
            neuron.reset()
            if place in self._membranes:
                neuron.v = self._membranes.pop(place)

    def after_neuron(self, neuron: SpikingQCFS) -> None:
        """Keep its membrane. A module that is called several times has one for each call."""
        if neuron.stateful:
            call = self._calls.get(neuron, 0)
            self._calls[neuron] = call + 1
            self._membranes[neuron, call] = neuron.v

    def read_out(self, out: Any) -> Any:
        """The mean over all steps so far, ``(B, ...)``; with ``scores_module`` after every step."""
        means = tree_map(lambda x: self._mean(x) if isinstance(x, Tensor) else x, out)
        self._readouts_done += 1
        if self._options.scores_module is None and self._readouts_done == self._options.readouts:
            self._leave_time()
        return means

    def _leave_time(self) -> None:
        # Later layers work on the mean of all steps in the last chunk; earlier results are dropped.
        self._behind.enter_context(work_of_steps(1 if self._is_last else 0))

    def _mean(self, x: Tensor) -> Tensor:
        if not x.dim() or len(x) % self._length:
            raise RuntimeError(
                f'the read-out ({self._options.readout_module or "the model"}) puts out a tensor '
                f'of shape {tuple(x.shape)}, whose first size is no multiple of {self._length} '
                'steps: choose a module whose outputs have the batch first'
            )
        every_step = self._options.scores_module is not None
        return self._means.add(x, self._done, self._length, every_step=every_step)

    def keep_scores(self, out: Tensor) -> Tensor:
        """Keep the scores ``(T*B, K)`` of every step; those that count ``(B, K)`` go on."""
        if not isinstance(out, Tensor) or out.dim() != 2:
            raise RuntimeError(
                f'scores_module ({self._options.scores_module or "the model"}) must put out '
                f'scores (B, K), but it is a {type(out).__name__}'
                + (f' of shape {tuple(out.shape)}' if isinstance(out, Tensor) else '')
            )
        self.scores.add(out, self._length)
        last = self._is_last
        self._leave_time()
        exits = self.scores.at_exits() if last else None
        return out.unflatten(0, (self._length, -1))[-1] if exits is None else exits
