"""Checkpoints that a kill cannot damage."""

from typing import Any

from mmengine.hooks import CheckpointHook

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
