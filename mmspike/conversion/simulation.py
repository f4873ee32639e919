"""Running a converted network for as many time steps as one likes, in bounded memory.

The network runs a few steps at a time, folded into the batch; its neurons carry their membranes
from chunk to chunk. At one place, the read-out, the mean over all steps so far is taken: what comes
after it in the model, a classifier's softmax or the boxes of a detector, works on that mean and
never learns of time. So a model of any host keeps its own ``predict``.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from mmspike.layers.readout import TemporalMean
from mmspike.neurons import SpikingQCFS
from mmspike.temporal import TemporalModule, check_timesteps, set_timesteps

# Where the mean is taken if nothing else is said: the last layers that are linear in the spikes.
READOUTS = ('head.fc', 'decode_head.conv_seg', 'bbox_head', 'neck', 'backbone')


class Simulation(TemporalModule, nn.Module):
    """Lets a model run T steps at every call; a part of the model that :func:`simulate` adds.

    While a model is in training it takes all steps at once, so that backward sees them.

    Args:
        timesteps: Number of steps T.
        chunk: Steps that are computed together. Memory grows with it, and not with T.
        encode: Name of the module whose input is repeated over time; empty for the model itself. A
            module that has ``timesteps`` of its own repeats its input by itself.
        readout: Name of the module whose outputs are averaged over time; empty for the model.
            Neurons must not come behind it.
        answer: Name of the module whose outputs ``(B, K)`` are the scores of a classifier, to be
            kept for every step; None keeps none.
        patience: With ``answer``: stop when the best class of every sample was the same for so many
            steps, and give every sample the scores that it had then. None runs all steps.
        readouts: How often the read-out runs at a call of the model: once for every map of a
            backbone that has it inside.

    Attributes:
        scores: Of the last call, with ``answer``: scores ``(T, B, K)`` after each step, as if it
            had been the last one. After an early exit they end with the chunk that was the last.
        exit_steps: Of the last call, with ``patience``: steps ``(B,)`` until the answer was stable.
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
        self._done = 0  # steps before this chunk
        self._length = 0  # steps of this chunk
        self._batch = 0  # samples
        self._repeated = False  # whether it was this class that repeated the input
        self._static = False  # whether all that ran so far is the same at every step
        self._constant: dict[tuple[nn.Module, int], tuple[Tensor, bool]] = {}
        self._calls: dict[nn.Module, int] = {}
        self._membranes: dict[tuple[nn.Module, int], Tensor] = {}
        self._sums: list[Tensor] = []
        self._kept_scores: list[Tensor] = []
        self._running: list[nn.Module] = []  # the model, in a list so as not to be a part

    # --- The model as a whole ---------------------------------------------------------------------

    def run(self, model: nn.Module, args: tuple, kwargs: dict) -> Any:
        """All chunks of one call of the model."""
        self._forget()
        self.scores = self.exit_steps = None
        self._running.append(model)
        layers, neurons = _layers(model), _neurons(model)
        for neuron in neurons:
            neuron.stateful = True
        for layer in layers:
            # Only an instance's own forward can spare a call its work.
            layer.forward = _Once(self, layer)
        try:
            while True:
                self._begin_chunk(model)
                inputs = args if self.encode else self.repeat(args)
                try:
                    out = type(model).forward(model, *inputs, **kwargs)
                except _NextChunkError:
                    continue
                if self.readout and not self._readouts:
                    raise RuntimeError(
                        f'the read-out ({self.readout}) was not called: choose a module that the '
                        'model calls in this mode'
                    )
                # A model has no hooks here: it is being called already.
                if not self.readout:
                    out = self.read_out(model, (), out)
                if self.answer == '':
                    out = self._keep(out)
                if self._ends():
                    return self._report(out)
        finally:
            for layer in layers:
                layer.__dict__.pop('forward', None)
            for neuron in neurons:
                neuron.stateful = False
                neuron.reset()
            self._set_timesteps(model, self.timesteps, None)
            del model.total_timesteps
            self._forget()

    def _begin_chunk(self, model: nn.Module) -> None:
        self._done += self._length
        whole = self.timesteps if model.training else self.chunk
        self._length = min(whole, self.timesteps - self._done)
        self._set_timesteps(model, self._length, self.timesteps)
        model.total_timesteps = self.timesteps
        self._calls.clear()
        self._readouts = 0
        self._static = True

    def _set_timesteps(self, model: nn.Module, timesteps: int, total: int | None) -> None:
        for module in model.modules():
            if isinstance(module, TemporalModule) and module is not self:
                module.timesteps = timesteps
                module.total_timesteps = total

    def _ends(self) -> bool:
        """Whether this chunk is the last one."""
        return self._done + self._length == self.timesteps or self._stable()

    def repeat(self, args: tuple) -> tuple:
        """``(B, ...)`` to ``(T*B, ...)``, for the T of this chunk."""
        first = next((x for x in tree_leaves(args) if isinstance(x, Tensor)), None)
        if first is None:
            raise TypeError(f'the input of {self.encode or "the model"} holds no tensor')
        self._batch, self._repeated = len(first), True
        return tree_map(lambda x: _repeat(x, self._length) if isinstance(x, Tensor) else x, args)

    # --- Parts ------------------------------------------------------------------------------------

    def before_encode(self, module: nn.Module, args: tuple) -> tuple | None:
        """The input of the module that time begins with."""
        if isinstance(module, TemporalModule):
            self._batch = len(args[0])
            return None
        return self.repeat(args)

    def before_neuron(self, neuron: SpikingQCFS, args: tuple) -> None:
        """Put the neuron where the last chunk left it at this place of the model."""
        self._static = False
        if self._calls.get(self):
            raise RuntimeError(
                f'a neuron runs behind the read-out ({self.readout}), where there is no time any '
                'more: read out later, or leave the activations behind it as they are (exclude)'
            )
        place = (neuron, self._calls.get(neuron, 0))
        neuron.reset()
        if place in self._membranes:
            neuron.v = self._membranes.pop(place)

    def after_neuron(self, neuron: SpikingQCFS, args: tuple, out: Tensor) -> None:
        """Keep its membrane. A module that is called several times has one for each call."""
        call = self._calls.get(neuron, 0)
        self._calls[neuron] = call + 1
        self._membranes[neuron, call] = neuron.v

    def constant(self, layer: nn.Module, forward: Callable, x: Tensor) -> Tensor:
        """What a layer before all neurons makes of an input that is the same at every step."""
        if not self._static or torch.is_grad_enabled():
            return forward(x)
        call = self._calls.get(layer, 0)
        self._calls[layer] = call + 1
        if (layer, call) in self._constant:
            out, repeated = self._constant[layer, call]
        else:
            # Windows and tokens may have joined the batch by now, but time is outermost still.
            repeated = self._repeated and _is_repeated(x, self._length)
            if not repeated and len(x) != self._batch:
                return forward(x)
            # Energy accounting asks a layer how many steps it computes.
            layer.total_timesteps = 1
            out = forward(x[: len(x) // self._length] if repeated else x)
            del layer.total_timesteps
            self._constant[layer, call] = out, repeated
        return _repeat(out, self._length) if repeated else out

    def read_out(self, module: nn.Module, args: tuple, out: Any) -> Any:
        """The mean over all steps so far, ``(B, ...)``; with ``answer`` after every step."""
        if isinstance(module, TemporalMean):
            out = args[0]  # which it has averaged over this chunk only
        means = tree_map(lambda x: self._mean(x) if isinstance(x, Tensor) else x, out)
        self._readouts += 1
        if self.answer is None and self._readouts == self.readouts:
            self._running[0].total_timesteps = 1  # what follows knows no time
            if self.readout:
                self._next_chunk()
        return means

    def _next_chunk(self) -> None:
        """Leave the rest of the model to the last chunk."""
        if not self._ends():
            raise _NextChunkError

    def _mean(self, x: Tensor) -> Tensor:
        steps = x.unflatten(0, (self._length, -1))
        place = self._calls.get(self, 0)
        self._calls[self] = place + 1
        before = self._sums[place] if self._done else 0
        if self.answer is None:
            sums = total = before + steps.sum(0)
            numbers = self._done + self._length
        else:
            sums = steps.cumsum(0) + before
            total = sums[-1]
            numbers = torch.arange(1, self._length + 1, device=x.device) + self._done
            numbers = numbers.view(-1, *[1] * (x.dim()))
        self._sums[place:] = [total, *self._sums[place + 1 :]]
        means = sums / numbers
        return means if self.answer is None else means.flatten(0, 1)

    def keep_scores(self, module: nn.Module, args: tuple, out: Tensor) -> Tensor:
        """Scores of every step; those of the last go on into the model."""
        last = self._keep(out)
        self._next_chunk()
        return last

    def _keep(self, out: Tensor) -> Tensor:
        steps = out.unflatten(0, (self._length, -1))
        self._kept_scores.append(steps.detach())
        return steps[-1]

    def _stable(self) -> bool:
        if self.patience is None or not self._kept_scores:
            return False
        return bool((stable_since(torch.cat(self._kept_scores), self.patience) > 0).all())

    def _report(self, out: Any) -> Any:
        if self.answer is None:
            return out
        self.scores = torch.cat(self._kept_scores)
        if self.patience is not None:
            exits = stable_since(self.scores, self.patience)
            self.exit_steps = torch.where(exits > 0, exits, len(self.scores))
        samples = out if isinstance(out, list) else []
        for i, sample in enumerate(samples):
            if not hasattr(sample, 'set_pred_score'):
                continue
            sample.set_field(self.scores[:, i], 'scores_over_time', dtype=Tensor)
            if self.exit_steps is not None:
                exit_step = int(self.exit_steps[i])
                score = self.scores[exit_step - 1, i].softmax(0)
                sample.set_field(exit_step, 'exit_step', dtype=int)
                sample.set_pred_score(score).set_pred_label(score.argmax(0, keepdim=True))
        return out


def stable_since(scores: Tensor, patience: int) -> Tensor:
    """First step (from 1) by which the best class was the same for ``patience`` steps; 0 if none.

    Args:
        scores: ``(T, B, K)``.
        patience: Number of steps, itself included.

    Returns:
        ``(B,)``, int64.
    """
    best = scores.argmax(-1)
    run = torch.ones_like(best[0])
    exits = torch.where(run >= patience, 1, 0)
    for t in range(1, len(best)):
        run = torch.where(best[t] == best[t - 1], run + 1, 1)
        exits = torch.where((exits == 0) & (run >= patience), t + 1, exits)
    return exits


class _NextChunkError(Exception):
    """Nothing behind the read-out needs to run before the last chunk."""


class _Run:
    """The forward of a simulated model, in the place of its class's."""

    def __init__(self, simulation: Simulation, model: nn.Module) -> None:
        self.simulation, self.model = simulation, model

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.simulation.run(self.model, args, kwargs)


class _Once:
    """The forward of a layer that computes what does not change with time once."""

    def __init__(self, simulation: Simulation, layer: nn.Module) -> None:
        self.simulation, self.layer = simulation, layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        def forward(*args: Any) -> Any:
            return type(self.layer).forward(self.layer, *args, **kwargs)

        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            return forward(*args)
        return self.simulation.constant(self.layer, forward, args[0])


def _repeat(x: Tensor, times: int) -> Tensor:
    return x.repeat(times, *[1] * (x.dim() - 1))


def _is_repeated(x: Tensor, times: int) -> bool:
    if len(x) % times:
        return False
    steps = x.unflatten(0, (times, -1))
    return torch.equal(steps[0], steps[-1])


def _neurons(model: nn.Module) -> list[SpikingQCFS]:
    return [module for module in model.modules() if isinstance(module, SpikingQCFS)]


def _layers(model: nn.Module) -> list[nn.Module]:
    """Layers with weights and without parts: what is worth computing once."""
    return [
        module
        for module in model.modules()
        if not isinstance(module, SpikingQCFS)
        and next(module.children(), None) is None
        and next(module.parameters(recurse=False), None) is not None
    ]


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
        answer: See :class:`Simulation`.
        patience: See :class:`Simulation`.

    Returns:
        The part that was added, ``model.simulation``.

    Raises:
        TypeError, ValueError: A number is no positive integer, a module does not exist, the model
            has no neurons of a conversion or is simulated already, or ``patience`` is given without
            ``answer``.
    """
    check_timesteps(timesteps)
    check_timesteps(chunk)
    modules = dict(model.named_modules())
    if 'simulation' in modules:
        raise ValueError('the model is simulated already: set model.simulation.timesteps')
    if not _neurons(model):
        raise ValueError(
            f'{type(model).__name__} has no neurons of a conversion: insert_qcfs and '
            'convert_to_spiking come first'
        )
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
    for neuron in _neurons(model):
        neuron.register_forward_pre_hook(simulation.before_neuron)
        neuron.register_forward_hook(simulation.after_neuron)
    if encode:
        modules[encode].register_forward_pre_hook(simulation.before_encode)
    if readout:
        modules[readout].register_forward_hook(simulation.read_out)
    if answer:
        modules[answer].register_forward_hook(simulation.keep_scores)
    model.simulation = simulation
    set_timesteps(model, timesteps)
    model.forward = _Run(simulation, model)
    return simulation
