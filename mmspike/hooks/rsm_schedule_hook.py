"""Random spike masking with ratios that follow the progress of training."""

from statistics import fmean

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from mmspike.hooks.averaged import averaged_models
from mmspike.masking.ratios import Ratio, masked_neurons
from mmspike.masking.schedules import Schedule, read_schedule
from mmspike.modules import unwrapped
from mmspike.neurons import BaseNeuron
from mmspike.registry import HOOKS


@HOOKS.register_module()
class RSMScheduleHook(Hook):
    """Set the masking ratios of a model, and change them, in training.

    The ratios of an epoch or iteration depend on its number alone, so that a resumed run goes on
    with those of an uninterrupted one. Checkpoints record them (see
    :class:`~mmspike.neurons.masking.SpikeMasking`): validation in between, and a model that loads a
    checkpoint later, mask as training did last. The masks themselves are drawn by torch's
    generator; with :class:`~mmspike.hooks.ProgressSeedHook` they repeat, too.

    The mean ratio of the neurons that a key names, whichever key counts for them, appears in the
    log as ``masking/<key>``. Ratios that were set by hand before training are replaced.

    Args:
        ratios: Maps groups or patterns (see :func:`mmspike.masking.set_masking`) to a ratio, a
            profile over depth, or a schedule (see :func:`mmspike.masking.read_schedule`), for
            instance ``dict(type='linear', start=0.0, stop=0.75, end=10)``. Where several keys name
            a neuron, the last one counts.
        by_epoch: Schedules count epochs; False counts iterations.

    Raises:
        TypeError, ValueError: A schedule is not acceptable, or there is none. Before a run: a key
            names no neuron of the model; training does not run by epochs.
    """

    # In front of hooks that log and save.
    priority = 'VERY_HIGH'

    def __init__(self, ratios: dict[str, Ratio | dict], by_epoch: bool = True) -> None:
        if not isinstance(ratios, dict) or not ratios:
            raise ValueError(
                'ratios must be a dict from groups or patterns of neurons to masking ratios or '
                f'schedules, with at least one entry, got {ratios!r}'
            )
        self.schedules = {key: read_schedule(value) for key, value in ratios.items()}
        self.by_epoch = by_epoch
        self._layers: list[tuple[str, Schedule, list[BaseNeuron]]] = []

    def before_run(self, runner: Runner) -> None:
        """Check that the model has the neurons of the keys; in training, control these neurons."""
        # Unlike `train_loop`, it does not build the loop of a run that only tests.
        trains = isinstance(runner._train_loop, BaseLoop)
        for key in self.schedules:
            for neuron in masked_neurons(runner.model, key):
                if trains:
                    # No longer chosen, so that loading what training goes on from does not object.
                    neuron.adopt_masking_ratio(neuron.masking_ratio)

    def before_train(self, runner: Runner) -> None:
        """Check that the schedules fit the loop, and begin."""
        if self.by_epoch and not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError('training does not run by epochs here: give by_epoch=False')
        # Averaged copies never run, but their records are read when a run is resumed.
        self._layers = [
            (key, schedule, masked_neurons(model, key))
            for model in (unwrapped(runner.model), *averaged_models(runner))
            for key, schedule in self.schedules.items()
        ]
        self._apply(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Take the ratios of epoch ``runner.epoch``."""
        if self.by_epoch:
            self._apply(runner)

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Take the ratios of iteration ``runner.iter`` where they go by iterations."""
        if not self.by_epoch:
            self._apply(runner)

    def _apply(self, runner: Runner) -> None:
        progress = runner.epoch if self.by_epoch else runner.iter
        for _, schedule, neurons in self._layers:
            ratios = schedule.at(progress, len(neurons))
            for neuron, ratio in zip(neurons, ratios.tolist(), strict=True):
                neuron.adopt_masking_ratio(ratio)
        # When all is done: a later key may have changed what an earlier one set.
        for key, _, neurons in self._layers:
            mean = fmean(neuron.masking_ratio for neuron in neurons)
            runner.message_hub.update_scalar(f'train/masking/{key}', mean)
