"""Checkpoints that a kill cannot damage."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmspike.files import ATOMIC_BACKEND
from mmspike.finite import first_bad_weight
from mmspike.folder_lock import FolderLock
from mmspike.hooks.averaged import averaged_models
from mmspike.hooks.not_finite import not_finite
from mmspike.modules import unwrapped
from mmspike.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, writing each file whole or not at all.

    The stock hook writes in place: killed while it writes, it leaves a torn file behind. It also
    saves weights with NaN, in the place of good ones: here, they end the training. While it
    trains, no other process trains into the same folder.

    Args:
        max_keep_ckpts: How many checkpoints to keep; -1 keeps all. Not 1, since the oldest is
            deleted before the new one is written.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: ``max_keep_ckpts`` is 1.
        FolderInUseError: When training begins, another process trains into the folder.
        NotFiniteError: A weight is NaN or infinite when it is to be saved.
    """

    def __init__(self, *args: Any, max_keep_ckpts: int = -1, **kwargs: Any) -> None:
        if max_keep_ckpts == 1:
            raise ValueError(
                'max_keep_ckpts=1 would delete the only checkpoint before the next one is '
                'written; use 2 or more'
            )
        kwargs.setdefault('backend_args', dict(backend=ATOMIC_BACKEND))
        super().__init__(*args, max_keep_ckpts=max_keep_ckpts, **kwargs)
        self._lock: FolderLock | None = None

    file_backend: Any  # of mmengine's hook, from before_train on

    def before_train(self, runner: Runner) -> None:
        """Remove incomplete files of an earlier run that was killed while writing."""
        super().before_train(runner)
        if is_main_process():
            self._lock = FolderLock(self.out_dir)
            for partial in Path(self.out_dir).glob('.*.pth.*.partial'):
                partial.unlink(missing_ok=True)

    def after_train(self, runner: Runner) -> None:
        """Publish, if asked, and let others train into the folder."""
        super().after_train(runner)
        if self._lock is not None:
            self._lock.release()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save the newest checkpoint; before, the oldest one is removed."""
        _check_weights(runner)
        super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and only then remove the best one so far.

        Validation without training (``runner.val()``) has nothing to save.
        """
        if not self.save_best or not hasattr(self, 'file_backend'):
            return
        _check_weights(runner)
        removals: list[str] = []
        backend, self.file_backend = self.file_backend, _Deferring(self.file_backend, removals)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        for path in removals:
            backend.remove(path)


def _check_weights(runner: Runner) -> None:
    for model in (unwrapped(runner.model), *averaged_models(runner)):
        bad = first_bad_weight(model)
        if bad is not None:
            raise not_finite(runner, f'{bad} of the model is not finite, and was not saved')


class _Deferring:
    """A storage backend whose removals are noted instead of done."""

    def __init__(self, backend: BaseStorageBackend, removals: list[str]) -> None:
        self._backend = backend
        self.remove = removals.append

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
