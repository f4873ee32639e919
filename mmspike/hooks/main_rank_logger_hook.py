"""The log of a test, written by one process."""

from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner

from mmspike.registry import HOOKS


@HOOKS.register_module()
class MainRankLoggerHook(LoggerHook):
    """mmengine's LoggerHook, whose main process alone writes the results of a test.

    With the stock hook all processes write the same JSON file at once, each with its own times.

    Args:
        **kwargs: See :class:`mmengine.hooks.LoggerHook`.
    """

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log and write the results, in the main process."""
        if is_main_process():
            super().after_test_epoch(runner, metrics)
