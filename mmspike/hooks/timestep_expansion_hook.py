"""Different T, D and execution in training, validation and test."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmspike.execution import EXECUTIONS, get_execution, set_execution
from mmspike.hooks.averaged import averaged_models
from mmspike.modules import unwrapped
from mmspike.neurons import IntegerNeuron, set_largest_integer
from mmspike.neurons.integer import check_largest_integer, integer_neurons
from mmspike.neurons.records import find_record, read_record, record_key, write_record
from mmspike.registry import HOOKS
from mmspike.temporal import TemporalModule, check_timesteps, set_timesteps

PHASES = ('train', 'val', 'test')
# The first entry begins at 0: [(0, 1), (10, 4)] is 1 for the first ten epochs, then 4.
Phases = list[tuple[int, Any]]


@HOOKS.register_module()
class TimestepExpansionHook(Hook):
    """Choose T, D and the execution per phase, and T and D by the progress of training.

    Each option is a dict from phases (``'train'``, ``'val'``, ``'test'``) to a value, or to a
    schedule: a list of pairs of the epoch (or iteration) from which on a value holds, and the
    value. A phase that is not named runs as the model is. Values of training stay until they are
    changed, also when training is over; after validation and test the model is put back, or, where
    one was broken off, when the next phase begins.

    Checkpoints hold nothing for it: a resumed run finds its values by its epoch or iteration. What
    a checkpoint records of its neurons (see :class:`~mmspike.neurons.BaseNeuron`) is always the D
    of training, even if it is written during validation. Where training has a D, neurons take the D
    on record when a checkpoint is loaded, if it is one that training uses.

    Args:
        T: Time steps.
        D: Largest integer of integer neurons.
        execution: ``'integer'``, ``'spike'``, ``'bitwise'`` or ``'ternary'`` (see
            :func:`mmspike.execution.set_execution`), for validation and test.
        by_epoch: Schedules count epochs; False counts iterations. Validation belongs to the epoch
            or iteration before it; outside of training it takes the last value.
        scale_norm: Let neurons that divide by D divide by the new D, see
            :func:`mmspike.neurons.set_largest_integer`.

    Raises:
        TypeError: An option is no dict, or a value of another type.
        ValueError: A phase is unknown or not possible, a value or schedule is not acceptable, or
            nothing is chosen. Before a run: the model has no neurons with D, or some whose D in
            evaluation is fixed (``eval_D``); training does not run by epochs.
    """

    # In front of hooks that save: after validation, the model is put back first.
    priority = 'VERY_HIGH'

    def __init__(
        self,
        *,
        T: dict | None = None,
        D: dict | None = None,
        execution: dict | None = None,
        by_epoch: bool = True,
        scale_norm: bool = False,
    ) -> None:
        if T is None and D is None and execution is None:
            raise ValueError('nothing to do: give T, D or execution')
        self.T = _read('T', T, check_timesteps)
        self.D = _read('D', D, check_largest_integer)
        self.execution = _read('execution', execution, _check_execution)
        if 'train' in self.execution:
            raise ValueError("training is always on integers: execution takes 'val' and 'test'")
        self.by_epoch = by_epoch
        self.scale_norm = scale_norm
        self._in_training = False
        self._undo = ExitStack()
        self._trained: dict[IntegerNeuron, tuple[int, float]] = {}

    # --- Phases ---------------------------------------------------------------------------------

    def before_run(self, runner: Runner) -> None:
        """Restore the model after an interrupted run; check that the model fits."""
        self._put_back()
        self._in_training = False
        if self.D:
            self._check_neurons(integer_neurons(runner.model))

    def before_train(self, runner: Runner) -> None:
        """Check that the schedules fit the loop."""
        self._in_training = True
        scheduled = any(
            len(steps) > 1
            for option in (self.T, self.D, self.execution)
            for steps in option.values()
        )
        if scheduled and self.by_epoch and not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError('training does not run by epochs here: schedules need by_epoch=False')

    def after_train(self, runner: Runner) -> None:
        """Mark the end of training: later validations belong to no epoch."""
        self._in_training = False

    def before_train_epoch(self, runner: Runner) -> None:
        """Take the values of epoch ``runner.epoch``."""
        self._put_back()
        if self.by_epoch:
            self._train(runner, runner.epoch)

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Take the values of iteration ``runner.iter`` where they go by iterations."""
        if not self.by_epoch:
            self._train(runner, runner.iter)

    def before_val_epoch(self, runner: Runner) -> None:
        """Take the values of validation."""
        self._put_back()
        progress = None
        if self._in_training:
            progress = max((runner.epoch if self.by_epoch else runner.iter) - 1, 0)
        self._evaluate(runner.model, 'val', progress)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Put the model back."""
        self._put_back()

    def before_test_epoch(self, runner: Runner) -> None:
        """Take the values of the test."""
        self._put_back()
        self._evaluate(runner.model, 'test', None)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Put the model back."""
        self._put_back()

    def _train(self, runner: Runner, progress: int) -> None:
        # The averaged copies never run, but their records are compared when a run is resumed.
        for model in (runner.model, *averaged_models(runner)):
            if 'train' in self.T:
                set_timesteps(model, _value(self.T['train'], progress))
            if 'train' in self.D:
                set_largest_integer(
                    model, _value(self.D['train'], progress), scale_norm=self.scale_norm
                )

    def _evaluate(self, model: nn.Module, phase: str, progress: int | None) -> None:
        if phase in self.T:
            for module in model.modules():
                if isinstance(module, TemporalModule):
                    self._undo.callback(setattr, module, 'timesteps', module.timesteps)
            set_timesteps(model, _value(self.T[phase], progress))
        if phase in self.D:
            self._trained = {n: (n.D, n.norm) for n in integer_neurons(model)}
            self._undo.callback(self._put_neurons_back)
            set_largest_integer(model, _value(self.D[phase], progress), scale_norm=self.scale_norm)
        if phase in self.execution:
            self._undo.callback(set_execution, model, get_execution(model))
            set_execution(model, _value(self.execution[phase], progress))

    def _put_back(self) -> None:
        self._undo.close()

    def _put_neurons_back(self) -> None:
        for neuron, (D, norm) in self._trained.items():
            neuron.D, neuron.norm = D, norm
        self._trained = {}

    def _check_neurons(self, neurons: list[IntegerNeuron]) -> None:
        if any(getattr(neuron, 'eval_D', None) is not None for neuron in neurons):
            raise ValueError(
                'neurons of the model have eval_D, their own D in evaluation, which a D of this '
                'hook would not change: leave one of them out'
            )

    # --- Checkpoints ----------------------------------------------------------------------------

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Record the D of training, where the model has another one just now."""
        state_dict = checkpoint['state_dict']
        for name, neuron in unwrapped(runner.model).named_modules():
            if neuron in self._trained:
                D, norm = self._trained[neuron]
                record = read_record(state_dict[record_key(name)], name)
                record['neuron'].update(D=D, norm=norm)
                state_dict[record_key(name)] = write_record(record)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Accept the recorded D of neurons if the training schedule contains it."""
        known = {D for _, D in self.D.get('train', ())}
        for model in (unwrapped(runner.model), *averaged_models(runner)):
            for name, neuron in model.named_modules():
                if isinstance(neuron, IntegerNeuron):
                    record = find_record(checkpoint.get('state_dict', {}), name)
                    D = record.get('neuron', {}).get('D')
                    if D in known:
                        set_largest_integer(neuron, D, scale_norm=self.scale_norm)


def _check_execution(execution: str) -> str:
    if execution not in EXECUTIONS:
        raise ValueError(f'execution must be one of {EXECUTIONS}, got {execution!r}')
    return execution


def _read(option: str, phases: dict | None, check: Callable[[Any], Any]) -> dict[str, Phases]:
    """Check an option and bring it into one form: phases to schedules."""
    if not isinstance(phases, dict | None):
        raise TypeError(
            f'{option} must be a dict from phases {PHASES} to values, got {phases!r}; set a '
            "value for all phases in the model's config"
        )
    unknown = set(phases or {}) - set(PHASES)
    if unknown:
        raise ValueError(f'{option} knows the phases {PHASES}, got {sorted(map(str, unknown))}')
    schedules = {}
    for phase, value in (phases or {}).items():
        schedule = value if isinstance(value, list | tuple) else [(0, value)]
        pairs = all(isinstance(step, list | tuple) and len(step) == 2 for step in schedule)
        if not schedule or not pairs:
            raise ValueError(f'a schedule is a list of pairs (begin, value), got {value!r}')
        begins = [begin for begin, _ in schedule]
        whole = all(isinstance(begin, int) and not isinstance(begin, bool) for begin in begins)
        if not whole or begins[0] != 0 or sorted(set(begins)) != begins:
            raise ValueError(
                f'a schedule must begin at 0 and go up in whole numbers, got {value!r}'
            )
        if phase == 'test' and len(schedule) > 1:
            raise ValueError(f'a test belongs to no epoch: give {option} one value for it')
        schedules[phase] = [(begin, check(one)) for begin, one in schedule]
    return schedules


def _value(schedule: Phases, progress: int | None) -> Any:
    """The value at ``progress``; None means the end of the schedule."""
    return [value for begin, value in schedule if progress is None or begin <= progress][-1]
