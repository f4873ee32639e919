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
    ) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.chunk = chunk
        self.encode = encode
        self.readout = readout
        self.answer = answer
        self.patience = patience
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
        self._calls: dict[nn.Module, int] = {}
        self._membranes: dict[tuple[nn.Module, int], Tensor] = {}
        self._sums: list[Tensor] = []
        self._static = False
        self._constant: dict[tuple[nn.Module, int], tuple[Tensor, bool]] = {}
        self._kept_scores: list[Tensor] = []

    # --- The model as a whole ---------------------------------------------------------------------

    def begin(self, model: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Before the model's first chunk."""
        self._forget()
        self.scores = self.exit_steps = None
        for neuron in _neurons(model):
            neuron.stateful = True
        for layer in _layers(model):
            # Only an instance's own forward can spare a call its work; finish() takes it back.
            layer.forward = _Once(self, layer)
        self._begin_chunk(model)
        return None if self.encode else (self.repeat(args), kwargs)

    def _begin_chunk(self, model: nn.Module) -> None:
        whole = self.timesteps if model.training else self.chunk
        self._length = min(whole, self.timesteps - self._done)
        self._set_timesteps(model, self._length)
        self._calls.clear()
        self._static = True

    def _set_timesteps(self, model: nn.Module, timesteps: int) -> None:
        for module in model.modules():
            if isinstance(module, TemporalModule) and module is not self:
                module.timesteps = timesteps

    def finish(self, model: nn.Module, args: tuple, kwargs: dict, out: Any) -> Any:
        """After the first chunk: run the others; also where it failed, without an output."""
        try:
            if out is None:
                return None
            out = self._after_chunk(model, out)
            while self._done < self.timesteps and not self._stable():
                if not self.encode:
                    args = tree_map(lambda x: x[: self._batch] if isinstance(x, Tensor) else x, args)
                self._begin_chunk(model)
                chunk = args if self.encode else self.repeat(args)
                out = self._after_chunk(model, model.forward(*chunk, **kwargs))
            return self._report(out)
        finally:
            for layer in _layers(model):
                layer.__dict__.pop('forward', None)
            for neuron in _neurons(model):
                neuron.stateful = False
                neuron.reset()
            self._set_timesteps(model, self.timesteps)
            self._forget()

    def _after_chunk(self, model: nn.Module, out: Any) -> Any:
        # The model's own hooks do not run again for every chunk.
        if not self.readout:
            out = self.read_out(model, (), out)
        if self.answer == '':
            out = self.keep_scores(model, (), out)
        self._done += self._length
        return out

    def repeat(self, args: tuple) -> tuple:
        """``(B, ...)`` to ``(T*B, ...)``, for the T of this chunk."""
        first = next((x for x in tree_leaves(args) if isinstance(x, Tensor)), None)
        if first is None:
            raise TypeError(f'the input of {self.encode or "the model"} holds no tensor')
        self._batch, self._repeated = len(first), True
        return tree_map(
            lambda x: _repeat(x, self._length) if isinstance(x, Tensor) else x, args
        )

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
            out = forward(x[: len(x) // self._length] if repeated else x)
            self._constant[layer, call] = out, repeated
        return _repeat(out, self._length) if repeated else out

    def read_out(self, module: nn.Module, args: tuple, out: Any) -> Any:
        """The mean over all steps so far, ``(B, ...)``; with ``answer`` after every step."""
        if isinstance(module, TemporalMean):
            out = args[0]  # which it has averaged over this chunk only
        return tree_map(lambda x: self._mean(x) if isinstance(x, Tensor) else x, out)

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
        steps = out.unflatten(0, (self._length, -1))
        self._kept_scores.append(steps.detach())
        return steps[-1]

    def _stable(self) -> bool:
        if self.patience is None:
            return False
        self.exit_steps = stable_since(torch.cat(self._kept_scores), self.patience)
        return bool((self.exit_steps > 0).all())

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


class _Once:
    """A layer's forward that computes what does not change with time once.

    The layer's own forward is looked up by its class, so that no loop of references arises.
    """

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
    simulation = Simulation(
        timesteps, chunk=chunk, encode=encode, readout=readout, answer=answer, patience=patience
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
    model.register_forward_pre_hook(simulation.begin, with_kwargs=True)
    model.register_forward_hook(simulation.finish, with_kwargs=True, always_call=True)
    return simulation
