"""Simulation of a converted network for any number of time steps in bounded memory.

The network runs a few steps at a time, folded into the batch; its neurons carry their membranes
from chunk to chunk. At one place, the read-out, the mean over all steps so far is taken: what comes
after it in the model, a classifier's softmax or the boxes of a detector, works on that mean and
never learns of time. So a model of any host keeps its own ``predict``.
"""

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmspike.ann2snn.simulated_call import SimulatedCall
from mmspike.deprecation import WithOldNames, renamed_attribute
from mmspike.execution.compiled import is_traced, refuse
from mmspike.execution.spike_train import unmarked
from mmspike.layers import TemporalMean
from mmspike.moved import moved_names
from mmspike.neurons import SpikingQCFS
from mmspike.temporal import TemporalModule

# Held while a thread takes a simulation for itself.
_taking = threading.Lock()


class Simulation(WithOldNames, TemporalModule, nn.Module):
    """Runs T steps at every call of a model. :func:`simulate` adds this module to the model.

    While a model is in training it takes all steps at once, so that backward sees them.

    The neurons keep the membranes of the call that is running, so that a model takes one call at a
    time. A call from a second thread meanwhile is refused; a copy for each thread works.

    Args:
        timesteps: Number of steps T.
        chunk: Steps that are computed together. Memory grows with it, and not with T, but for
            the scores that ``scores_module`` keeps. What follows the read-out runs once, in the
            last chunk, if the read-out is the backbone or the neck of a host's model. Otherwise it
            runs in every chunk, on the mean up to it.
        input_module: Name of the module whose input is repeated over time, or, being frames
            ``(B, T, C, H, W)``, cut; empty for the model itself. A module that has ``timesteps`` of
            its own does it by itself.
        readout_module: Name of the module whose outputs are averaged over time; empty for the
            model. Neurons must not come behind it.
        scores_module: Name of the module whose outputs ``(B, K)`` are the scores of a classifier,
            to be kept for every step; None keeps none. What is between them runs for every step
            then, on the mean up to it.
        patience: With ``scores_module``: stop when the best class of every sample was the same for
            so many steps, and give every sample the scores that it had then. None runs all steps,
            as does training.
        readouts: How often the read-out runs at a call of the model: once for every map of a
            backbone that has it inside.

    Attributes:
        scores: Of the last call, with ``scores_module``: scores ``(T, B, K)`` after each step, as
            if it had been the last one. After an early exit they end with the chunk that was the
            last.
        exit_steps: Of the last call, with ``patience``: steps ``(B,)`` until the answer was stable;
            the last one of those that never was.
    """

    def __init__(
        self,
        timesteps: int,
        *,
        chunk: int,
        input_module: str,
        readout_module: str,
        scores_module: str | None,
        patience: int | None,
        readouts: int,
    ) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.chunk = chunk
        self.input_module = input_module
        self.readout_module = readout_module
        self.scores_module = scores_module
        self.patience = patience
        self.readouts = readouts
        self.scores: Tensor | None = None
        self.exit_steps: Tensor | None = None
        self._call: SimulatedCall | None = None  # that is running

    def __getstate__(self) -> dict[str, Any]:
        # A copy that is made during a call runs nothing.
        return {**vars(self), '_call': None}

    encode = renamed_attribute('encode', 'input_module')
    readout = renamed_attribute('readout', 'readout_module')
    answer = renamed_attribute('answer', 'scores_module')

    def extra_repr(self) -> str:
        return (
            f'timesteps={self.timesteps}, chunk={self.chunk}, '
            f'readout_module={self.readout_module!r}, scores_module={self.scores_module!r}, '
            f'patience={self.patience}'
        )

    def forward(self, x: Any) -> Any:
        """Identity. The work is done by hooks; an ``nn.Sequential`` calls every child."""
        return x

    def run(self, model: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        """Run all chunks of one call of the model, in place of its forward.

        Raises:
            CompiledError: The call is compiled, exported or traced.
            RuntimeError: The model is running already, or a module was called in another way than a
                simulation needs.
        """
        if is_traced():
            refuse(
                'a simulated model runs a chunk of steps after the other, until its answers are '
                'stable, and can be neither compiled, nor exported, nor traced: compile or export '
                'the quantised network, before convert_to_spiking'
            )
        with _taking:
            if self._call is not None:
                raise RuntimeError(
                    'this simulated model is running already, and its neurons hold the membranes '
                    'of that call: wait until it has ended (a lock), or give each thread a model '
                    'of its own (copy.deepcopy)'
                )
            call = self._call = SimulatedCall(self, model)
        try:
            self.scores = self.exit_steps = None
            out = call.run(forward, args, kwargs)
            if self.scores_module is not None:
                scores = self.scores = call.scores.all()
                self.exit_steps = call.scores.exits()
                self._report(out, scores)
            return out
        finally:
            self._call = None  # last: from here on another thread may begin

    def _report(self, out: Any, scores: Tensor) -> None:
        for i, sample in enumerate(out if isinstance(out, list) else []):
            if hasattr(sample, 'set_field'):
                sample.set_field(scores[:, i], 'scores_over_time', dtype=Tensor)
                if self.exit_steps is not None:
                    sample.set_field(int(self.exit_steps[i]), 'exit_step', dtype=int)

    def _running(self, name: str) -> SimulatedCall:
        if self._call is None:
            raise RuntimeError(
                f'{name} is part of a simulated model and cannot run alone: call the model, '
                'in one of its modes'
            )
        if self._call.thread != threading.get_ident():
            raise RuntimeError(
                'a part of a simulated model was called while the model is running in another '
                'thread: give each thread a model of its own (copy.deepcopy)'
            )
        return self._call

    # --- Hooks of its parts -----------------------------------------------------------------------

    def before_encode(self, module: nn.Module, args: tuple) -> tuple:
        """Of the module that time begins with."""
        return self._running(self.input_module).encoded(module, args)

    def before_neuron(self, neuron: SpikingQCFS, args: tuple) -> None:
        """Of a neuron, which may be called by itself as well."""
        if self._call is not None:
            self._running('').before_neuron(neuron)

    def after_neuron(self, neuron: SpikingQCFS, args: tuple, out: Tensor) -> None:
        """Of a neuron."""
        if self._call is not None:
            self._running('').after_neuron(neuron)

    def after_readout(self, module: nn.Module, args: tuple, out: Any) -> Any:
        """Of the read-out."""
        # A temporal mean has averaged over this chunk only.
        out = args[0] if isinstance(module, TemporalMean) else out
        return self._running(self.readout_module).read_out(unmarked(out))

    def after_answer(self, module: nn.Module, args: tuple, out: Tensor) -> Tensor:
        """Of the module that puts out the scores."""
        return self._running(str(self.scores_module)).keep_scores(out)


__getattr__ = moved_names(__name__, {'simulate': 'ann2snn.simulate:simulate'})
