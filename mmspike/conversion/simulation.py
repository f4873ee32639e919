"""Running a converted network for as many time steps as one likes, in bounded memory.

The network runs a few steps at a time, folded into the batch; its neurons carry their membranes
from chunk to chunk. At one place, the read-out, the mean over all steps so far is taken: what comes
after it in the model, a classifier's softmax or the boxes of a detector, works on that mean and
never learns of time. So a model of any host keeps its own ``predict``.
"""

import math
import threading
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from mmspike.conversion.constant import ConstantLayers, repeat
from mmspike.conversion.early_exit import stable_since
from mmspike.execution import get_execution
from mmspike.execution.compiled import is_traced, refuse
from mmspike.execution.spike_train import unmarked
from mmspike.layers import DropPath, TemporalMean
from mmspike.neurons import BaseNeuron, SpikingQCFS
from mmspike.temporal import (
    TemporalModule,
    check_timesteps,
    encode_input,
    set_timesteps,
    work_of_steps,
)

# Where the mean is taken if nothing else is said, the first that a model has.
READOUTS = ('head.fc', 'decode_head.conv_seg', 'bbox_head', 'neck', 'backbone')
# Held while a thread takes a simulation for itself.
_taking = threading.Lock()


class _NextChunkError(Exception):
    """Nothing behind the read-out needs to run before the last chunk."""


class Simulation(TemporalModule, nn.Module):
    """Lets a model run T steps at every call; a part of the model that :func:`simulate` adds.

    While a model is in training it takes all steps at once, so that backward sees them.

    The neurons keep the membranes of the call that is running, so that a model takes one call at a
    time. A call from a second thread meanwhile is refused; a copy for each thread works.

    Args:
        timesteps: Number of steps T.
        chunk: Steps that are computed together. Memory grows with it, and not with T, but for
            the scores that ``answer`` keeps.
        encode: Name of the module whose input is repeated over time, or, being frames
            ``(B, T, C, H, W)``, cut; empty for the model itself. A module that has ``timesteps`` of
            its own does it by itself.
        readout: Name of the module whose outputs are averaged over time; empty for the model.
            Neurons must not come behind it.
        answer: Name of the module whose outputs ``(B, K)`` are the scores of a classifier, to be
            kept for every step; None keeps none. What is between read-out and answer runs for
            every step then, on the mean up to it.
        patience: With ``answer``: stop when the best class of every sample was the same for so many
            steps, and give every sample the scores that it had then. None runs all steps.
        readouts: How often the read-out runs at a call of the model: once for every map of a
            backbone that has it inside.

    Attributes:
        scores: Of the last call, with ``answer``: scores ``(T, B, K)`` after each step, as if it
            had been the last one. After an early exit they end with the chunk that was the last.
        exit_steps: Of the last call, with ``patience``: steps ``(B,)`` until the answer was stable;
            the last one of those that never was.
    """

    def __init__(
        self,
        timesteps: int,
        *,
        chunk: int,
        encode: str,
        readout: str,
        answer: str | None,
        patience: int | None,
        readouts: int,
    ) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.chunk = chunk
        self.encode = encode
        self.readout = readout
        self.answer = answer
        self.patience = patience
        self.readouts = readouts
        self.scores: Tensor | None = None
        self.exit_steps: Tensor | None = None
        self._thread: int | None = None  # that the model is running in
        self._forget()

    def extra_repr(self) -> str:
        return (
            f'timesteps={self.timesteps}, chunk={self.chunk}, readout={self.readout!r}, '
            f'answer={self.answer!r}, patience={self.patience}'
        )

    def forward(self, x: Any) -> Any:
        """Nothing: it works by hooks. As the last part of an ``nn.Sequential`` it is called."""
        return x

    def _forget(self) -> None:
        self._running: list[nn.Module] = []  # the model, in a list so as not to be a part of this
        self._chunk: ExitStack | None = None  # what ends with this chunk
        self._constant: ConstantLayers | None = None
        self._done = 0  # steps before this chunk
        self._length = 0  # steps of this chunk
        self._encoded = False  # whether this chunk's input was repeated
        self._calls: dict[nn.Module, int] = {}  # of neurons, in this chunk
        self._membranes: dict[tuple[nn.Module, int], Tensor] = {}
        self._readouts_done = 0  # in this chunk
        self._outputs_done = 0  # tensors read out in this chunk
        self._sums: dict[int, Tensor] = {}
        self._kept_scores: list[Tensor] = []

    # --- The model as a whole ---------------------------------------------------------------------

    def run(self, model: nn.Module, args: tuple, kwargs: dict) -> Any:
        """All chunks of one call of the model.

        Raises:
            RuntimeError: The model is running already, or a module was called in another way than a
                simulation needs.
        """
        neurons = [module for module in model.modules() if isinstance(module, SpikingQCFS)]
        self._take()
        try:
            self._running.append(model)
            self.scores = self.exit_steps = None
            for neuron in neurons:
                neuron.stateful = not model.training
            with ConstantLayers(model) as self._constant:
                while True:
                    with ExitStack() as self._chunk:
                        self._begin_chunk(model)
                        try:
                            out = self._run_chunk(model, args, kwargs)
                        except _NextChunkError:
                            continue
                    if self._ends():
                        return self._report(out)
        finally:
            for neuron in neurons:
                neuron.stateful = False
                neuron.reset()
            self._set_timesteps(model, self.timesteps)
            self._forget()
            self._thread = None  # last: from here on another thread may begin

    def _take(self) -> None:
        """Let no other call run until this one has ended."""
        with _taking:
            if self._thread is not None:
                raise RuntimeError(
                    'this simulated model is running already, and its neurons hold the membranes '
                    'of that call: wait until it has ended (a lock), or give each thread a model '
                    'of its own (copy.deepcopy)'
                )
            self._thread = threading.get_ident()

    def _run_chunk(self, model: nn.Module, args: tuple, kwargs: dict) -> Any:
        inputs = args if self.encode else self.encoded(model, args)
        out = type(model).forward(model, *inputs, **kwargs)
        if self.readout and not self._readouts_done:
            raise RuntimeError(
                f'the read-out ({self.readout}) was not called: choose a module that the model '
                'calls in this mode'
            )
        # A model has no hooks here: it is being called already.
        if not self.readout:
            out = self.read_out(model, (), out)
        return self._keep(out) if self.answer == '' else out

    def _begin_chunk(self, model: nn.Module) -> None:
        self._done += self._length
        whole = self.timesteps if model.training else self.chunk
        self._length = min(whole, self.timesteps - self._done)
        # A network without time does the work of one step: energy accounting takes it from the
        # first chunk, by dividing, and nothing from the others.
        self._chunk.enter_context(work_of_steps(math.inf if self._done else self._length))
        self._set_timesteps(model, self._length)
        self._encoded = False
        self._calls.clear()
        self._readouts_done = self._outputs_done = 0

    def _set_timesteps(self, model: nn.Module, timesteps: int) -> None:
        for module in model.modules():
            if isinstance(module, TemporalModule) and module is not self:
                module.timesteps = timesteps

    def _ends(self) -> bool:
        """Whether this chunk is the last one."""
        return self._done + self._length == self.timesteps or self._stable()

    def encoded(self, module: nn.Module, args: tuple) -> tuple:
        """The input of this chunk's steps."""
        first = next((x for x in tree_leaves(args) if isinstance(x, Tensor)), None)
        if first is None:
            raise TypeError(
                f'the input of {self.encode or "the model"} holds no tensor: name the module that '
                'takes the images (encode)'
            )
        if self._encoded:
            raise RuntimeError(
                f'{self.encode} was called twice in one call of the model, as by sliding windows '
                "and test-time augmentation: let the model see whole images (mode='whole')"
            )
        self._encoded = True
        frames = first.dim() == 5
        self._constant.begin_chunk(self._length, len(first), holds=not frames)
        if frames and first.shape[1] != self.timesteps:
            raise ValueError(
                f'the input holds {first.shape[1]} frames (shape {tuple(first.shape)}, read as '
                f'(B, T, C, H, W)) but the simulation runs T={self.timesteps} steps'
            )
        own = isinstance(module, TemporalModule)

        def encode(x: Tensor) -> Tensor:
            if x.dim() == 5:
                x = x[:, self._done : self._done + self._length]
            if own:
                return x
            return encode_input(x, self._length) if x.dim() == 5 else repeat(x, self._length)

        return tree_map(lambda x: encode(x) if isinstance(x, Tensor) else x, args)

    def _report(self, out: Any) -> Any:
        if self.answer is None:
            return out
        self.scores = torch.cat(self._kept_scores)
        self.exit_steps = self._exits()
        for i, sample in enumerate(out if isinstance(out, list) else []):
            if hasattr(sample, 'set_field'):
                sample.set_field(self.scores[:, i], 'scores_over_time', dtype=Tensor)
                if self.exit_steps is not None:
                    sample.set_field(int(self.exit_steps[i]), 'exit_step', dtype=int)
        return out

    # --- Its parts, by hooks ----------------------------------------------------------------------

    def _check_running(self, name: str) -> None:
        if not self._running:
            raise RuntimeError(
                f'{name} is part of a simulated model and has no time of its own: call the model, '
                'in one of its modes'
            )
        self._check_thread()

    def _check_thread(self) -> None:
        if self._thread != threading.get_ident():
            raise RuntimeError(
                'a part of a simulated model was called while the model is running in another '
                'thread: give each thread a model of its own (copy.deepcopy)'
            )

    def before_encode(self, module: nn.Module, args: tuple) -> tuple:
        """The input of the module that time begins with."""
        self._check_running(self.encode)
        return self.encoded(module, args)

    def before_neuron(self, neuron: SpikingQCFS, args: tuple) -> None:
        """Put the neuron where the last chunk left it at this place of the model."""
        if not self._running:
            return
        self._check_thread()
        self._constant.holds = False
        if self._readouts_done:
            names = {module: name for name, module in self._running[0].named_modules()}
            raise RuntimeError(
                f'{names[neuron]} is a neuron behind the read-out ({self.readout}), where there is '
                'no time any more: read out later, or leave the activations there as they are '
                '(exclude)'
            )
        if neuron.stateful:
            place = (neuron, self._calls.get(neuron, 0))
            neuron.reset()
            if place in self._membranes:
                neuron.v = self._membranes.pop(place)

    def after_neuron(self, neuron: SpikingQCFS, args: tuple, out: Tensor) -> None:
        """Keep its membrane. A module that is called several times has one for each call."""
        if neuron.stateful and self._running:
            call = self._calls.get(neuron, 0)
            self._calls[neuron] = call + 1
            self._membranes[neuron, call] = neuron.v

    def read_out(self, module: nn.Module, args: tuple, out: Any) -> Any:
        """The mean over all steps so far, ``(B, ...)``; with ``answer`` after every step."""
        self._check_running(self.readout)
        if isinstance(module, TemporalMean):
            out = args[0]  # which it has averaged over this chunk only
        means = tree_map(lambda x: self._mean(x) if isinstance(x, Tensor) else x, unmarked(out))
        self._readouts_done += 1
        if self.answer is None and self._readouts_done == self.readouts:
            self._chunk.enter_context(work_of_steps(1))  # what follows knows no time
            if self.readout:
                self._next_chunk()
        return means

    def _mean(self, x: Tensor) -> Tensor:
        if not x.dim() or len(x) % self._length:
            raise RuntimeError(
                f'the read-out ({self.readout or "the model"}) puts out a tensor of shape '
                f'{tuple(x.shape)}, whose first size is no multiple of {self._length} steps: '
                'choose a module whose outputs have the batch first'
            )
        # Over many steps, half precision would lose what one step adds.
        steps = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        steps = steps.unflatten(0, (self._length, -1))
        place = self._outputs_done
        self._outputs_done += 1
        before = self._sums.get(place, 0)
        if self.answer is None:
            sums = self._sums[place] = before + steps.sum(0)
            return (sums / (self._done + self._length)).to(x.dtype)
        sums = steps.cumsum(0) + before
        self._sums[place] = sums[-1]
        numbers = torch.arange(1, self._length + 1, device=x.device) + self._done
        return (sums / numbers.view(-1, *[1] * x.dim())).flatten(0, 1).to(x.dtype)

    def keep_scores(self, module: nn.Module, args: tuple, out: Tensor) -> Tensor:
        """Scores of every step; those that count go on into the model."""
        self._check_running(self.answer)
        last = self._keep(out)
        self._next_chunk()
        return last

    def _keep(self, out: Tensor) -> Tensor:
        if not isinstance(out, Tensor) or out.dim() != 2:
            raise RuntimeError(
                f'answer ({self.answer or "the model"}) must put out scores (B, K), but it is a '
                f'{type(out).__name__}'
                + (f' of shape {tuple(out.shape)}' if isinstance(out, Tensor) else '')
            )
        self._kept_scores.append(out.detach().unflatten(0, (self._length, -1)))
        steps = out.unflatten(0, (self._length, -1))
        exits = self._exits()
        if exits is None or not self._ends():
            return steps[-1]
        scores = torch.cat(self._kept_scores)
        return scores[exits - 1, torch.arange(scores.shape[1], device=scores.device)]

    def _next_chunk(self) -> None:
        """Leave the rest of the model to the last chunk."""
        if not self._ends():
            raise _NextChunkError

    def _exits(self) -> Tensor | None:
        """Steps after which each sample's answer counts, as far as known."""
        if self.patience is None:
            return None
        scores = torch.cat(self._kept_scores)
        exits = stable_since(scores, self.patience)
        return torch.where(exits > 0, exits, len(scores))

    def _stable(self) -> bool:
        if self.patience is None or not self._kept_scores:
            return False
        return bool((stable_since(torch.cat(self._kept_scores), self.patience) > 0).all())


class _Run:
    """The forward of a simulated model, in the place of its class's."""

    def __init__(self, simulation: Simulation, model: nn.Module) -> None:
        self.simulation, self.model = simulation, model

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """All chunks."""
        if is_traced():
            refuse(
                'a simulated model runs a chunk of steps after the other, until its answers are '
                'stable, and can be neither compiled, nor exported, nor traced: compile or export '
                'the quantised network, before convert_to_spiking'
            )
        return self.simulation.run(self.model, args, kwargs)


def simulate(
    model: nn.Module,
    timesteps: int,
    *,
    chunk: int = 8,
    encode: str | None = None,
    readout: str | None = None,
    answer: str | None = None,
    patience: int | None = None,
) -> Simulation:
    """Let ``model``, which has spiking neurons of a conversion, run ``timesteps`` at every call.

    Args:
        model: What :func:`~mmspike.conversion.spiking.convert_to_spiking` returned; changed in
            place.
        timesteps: Number of steps T; :func:`mmspike.set_timesteps` changes it later.
        chunk: See :class:`Simulation`.
        encode: See :class:`Simulation`. By default the backbone; without one, the model itself.
        readout: See :class:`Simulation`. By default, of what the model has: its temporal mean,
            ``head.fc``, ``decode_head.conv_seg``, ``bbox_head``, ``neck``, ``backbone``; otherwise
            the model itself.
        answer: See :class:`Simulation`; ``'head'`` for classifiers of mmpretrain.
        patience: See :class:`Simulation`.

    Returns:
        The part that was added, ``model.simulation``.

    Raises:
        TypeError, ValueError: A number is no positive integer, a module does not exist, the model
            has no neurons of a conversion, has other spiking parts as well, or is simulated or
            switched to spike-driven execution already, or ``patience`` is given without ``answer``.
    """
    check_timesteps(timesteps)
    check_timesteps(chunk)
    modules = dict(model.named_modules())
    if encode is None:
        encode = 'backbone' if 'backbone' in modules else ''
    if readout is None:
        means = [name for name, module in modules.items() if isinstance(module, TemporalMean)]
        readout = next((name for name in (*means, *READOUTS) if name in modules), '')
    for name in (encode, readout, answer or ''):
        if name not in modules:
            raise ValueError(f'{type(model).__name__} has no module {name!r}')
    if patience is not None:
        check_timesteps(patience)
        if answer is None:
            raise ValueError('patience needs answer: the module whose outputs are the scores')
    _check_parts(model, modules, encode, readout)
    around = modules[readout.rpartition('.')[0]]
    inside = isinstance(modules[readout], TemporalMean) and hasattr(around, 'out_indices')
    simulation = Simulation(
        timesteps,
        chunk=chunk,
        encode=encode,
        readout=readout,
        answer=answer,
        patience=patience,
        readouts=len(around.out_indices) if inside else 1,
    )
    for module in modules.values():
        if isinstance(module, SpikingQCFS):
            module.register_forward_pre_hook(simulation.before_neuron)
            module.register_forward_hook(simulation.after_neuron)
    if encode:
        modules[encode].register_forward_pre_hook(simulation.before_encode)
    if readout:
        modules[readout].register_forward_hook(simulation.read_out)
    if answer:
        modules[answer].register_forward_hook(simulation.keep_scores)
    model.simulation = simulation
    set_timesteps(model, timesteps)
    # A bound method: what exports a model asks for the code of its forward.
    model.forward = _Run(simulation, model).run
    return simulation


def _check_parts(
    model: nn.Module, modules: dict[str, nn.Module], encode: str, readout: str
) -> None:
    if 'simulation' in modules:
        raise ValueError('the model is simulated already: set model.simulation.timesteps')
    if get_execution(model) == 'spike':
        raise ValueError("simulate first, then switch to spike-driven execution: it is 'spike'")
    if not any(isinstance(module, SpikingQCFS) for module in modules.values()):
        raise ValueError(
            f'{type(model).__name__} has no neurons of a conversion: insert_qcfs and '
            'convert_to_spiking come first'
        )
    for name, module in modules.items():
        if not isinstance(module, TemporalModule) or isinstance(module, SpikingQCFS | DropPath):
            continue
        if isinstance(module, BaseNeuron):
            raise ValueError(
                f'{name} is a neuron of another kind ({type(module).__name__}), whose state would '
                'be lost between chunks: a simulation runs converted neurons only'
            )
        encodes = not encode or name == encode or name.startswith(f'{encode}.')
        if name != readout and (isinstance(module, TemporalMean) or not encodes):
            raise ValueError(
                f'{name} ({type(module).__name__}) knows time by itself and would see one chunk '
                f'only: read out there (readout={name!r}), or use a part that knows no time'
            )
