"""The message of a training that ends because of NaN or infinity."""

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmspike.apis.resume import newest_good_checkpoint


class NotFiniteError(FloatingPointError):
    """Losses or weights hold NaN or infinity."""


def not_finite(runner: Runner, what: str) -> NotFiniteError:
    """The error that ends a training.

    Args:
        runner: The runner that trains.
        what: What is not finite, as a sentence without its full stop.
    """
    rates = sorted({lr for group in runner.optim_wrapper.get_lr().values() for lr in group})
    folders = [
        hook.out_dir
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook) and hook.out_dir is not None
    ]
    good = next((found for folder in folders if (found := newest_good_checkpoint(folder)[0])), None)
    last = f'the last checkpoint with finite weights is {good}' if good else 'no checkpoint is left'
    return NotFiniteError(
        f'training stopped at iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {what}. '
        f'The learning rate was {", ".join(f"{rate:.4g}" for rate in rates)}; {last}. A smaller '
        'learning rate, a longer warm-up or optim_wrapper.clip_grad=dict(max_norm=1) may help'
    )
