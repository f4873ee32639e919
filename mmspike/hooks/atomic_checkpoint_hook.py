"""Checkpoints that a kill cannot damage."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmspike.registry import HOOKS
from mmspike.utils.checkpoint import ATOMIC_BACKEND


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, writing each file whole or not at all.

    The stock hook writes in place: killed while it writes, it leaves a torn file behind.

    Args:
        max_keep_ckpts: How many checkpoints to keep; -1 keeps all. Not 1, since the oldest is
            deleted before the new one is written.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: ``max_keep_ckpts`` is 1.
    """

    def __init__(self, *args: Any, max_keep_ckpts: int = -1, **kwargs: Any) -> None:
        if max_keep_ckpts == 1:
            raise ValueError(
                'max_keep_ckpts=1 would delete the only checkpoint before the next one is '
                'written; use 2 or more'
            )
        kwargs.setdefault('backend_args', dict(backend=ATOMIC_BACKEND))
        super().__init__(*args, max_keep_ckpts=max_keep_ckpts, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Clear away what an earlier run, killed while it wrote, left half done."""
        super().before_train(runner)
        if is_main_process():
            for partial in Path(self.out_dir).glob('.*.pth.*.partial'):
                partial.unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and only then remove the best one so far.

        Validation without training (``runner.val()``) has nothing to save.
        """
        if not hasattr(self, 'file_backend'):
            return
        removals: list[str] = []
        backend, self.file_backend = self.file_backend, _Deferring(self.file_backend, removals)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        for path in removals:
            backend.remove(path)


class _Deferring:
    """A storage backend whose removals are noted instead of done."""

    def __init__(self, backend: BaseStorageBackend, removals: list[str]) -> None:
        self._backend = backend
        self.remove = removals.append

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
