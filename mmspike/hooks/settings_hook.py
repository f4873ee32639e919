"""``timesteps`` and ``D`` at the top of a config, in every tool that has a Runner."""

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmspike.apis.settings import apply_settings, read_settings, write_settings
from mmspike.apis.unread import unread_settings
from mmspike.hooks.timestep_expansion_hook import TimestepExpansionHook
from mmspike.modules import unwrapped
from mmspike.neurons import set_largest_integer
from mmspike.neurons.integer import integer_neurons
from mmspike.registry import HOOKS
from mmspike.temporal import set_timesteps


@HOOKS.register_module()
class SettingsHook(Hook):
    """Apply ``timesteps`` and ``D`` of the config's top level; warn of settings without effect.

    When a run begins, before weights are loaded, T is given to all spiking modules of the model and
    to the transforms that make frames of events, D to all integer neurons. A neuron that divides by
    D then divides by the new D. The config is brought up to date as well: the copy in the work
    directory and in checkpoints describes the actual run.

    A checkpoint records D. One that was made with another D is refused, as it is where the D of the
    model's config differs.

    Raises:
        TypeError, ValueError: A setting is no positive integer, the model has no spiking modules or
            no integer neurons, or something else chooses T or D as well: a
            :class:`~mmspike.hooks.TimestepExpansionHook`, or ``eval_D`` of a neuron.
    """

    # Before the hooks that look at the model.
    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Apply the settings to the model and to the config."""
        for name, places in unread_settings(runner.cfg).items():
            meant = f'; set {" or ".join(places)} instead' if places else ''
            print_log(f"the config sets '{name}', which nothing reads{meant}", 'current', 30)
        settings = read_settings(runner.cfg)
        if not settings:
            return
        _check_choice(settings, runner)
        changed = apply_settings(runner.cfg)
        model = unwrapped(runner.model)
        if 'timesteps' in settings:
            set_timesteps(model, settings['timesteps'])
        if 'D' in settings:
            if any(getattr(n, 'eval_D', None) is not None for n in integer_neurons(model)):
                raise ValueError(
                    f'D={settings["D"]} at the top of the config: neurons of the model have '
                    'eval_D, their own D in evaluation, which it would not change; set '
                    'neuron_cfg.D instead'
                )
            set_largest_integer(model, settings['D'], scale_norm=True)
        # The model and its data exist, but a teacher is built when it is first asked.
        write_settings(getattr(model, 'teacher_cfg', None), settings, 'teacher')
        if changed:
            runner.dump_config()
            said = ', '.join(f'{key} ({old} -> {new})' for key, (old, new) in changed.items())
            print_log(f'set from the top of the config: {said}', 'current')

    def before_train(self, runner: Runner) -> None:
        """Make as many frames as the model has steps."""
        _set_frames(runner, runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Make as many frames as the model has steps."""
        _set_frames(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Make as many frames as the model has steps."""
        _set_frames(runner, runner.test_dataloader.dataset)


def _check_choice(settings: dict[str, int], runner: Runner) -> None:
    """Refuse a second choice of T or D."""
    for hook in runner.hooks:
        if isinstance(hook, TimestepExpansionHook):
            chosen = dict(timesteps=hook.T, D=hook.D)
            for key in settings:
                if chosen[key]:
                    name = 'T' if key == 'timesteps' else key
                    raise ValueError(
                        f'{key}={settings[key]} at the top of the config and {name} of '
                        'TimestepExpansionHook set the same value: remove one of them'
                    )


def _set_frames(runner: Runner, dataset: Any) -> None:
    """Give T to the transforms of a dataset that have one. Workers start later."""
    timesteps = read_settings(runner.cfg).get('timesteps')
    for transform in _parts(dataset) if timesteps else ():
        if getattr(transform, 'timesteps', None) is not None:
            transform.timesteps = timesteps


def _parts(node: Any) -> Iterator[Any]:
    """A dataset or transform and all that it consists of."""
    if isinstance(node, list | tuple):
        for part in node:
            yield from _parts(part)
    elif node is not None:
        yield node
        for name in ('dataset', 'datasets', 'pipeline', 'transforms', 'subroutines'):
            yield from _parts(getattr(node, name, None))
