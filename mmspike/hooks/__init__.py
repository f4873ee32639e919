"""Hooks for mmengine's Runner."""

from mmspike.hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from mmspike.hooks.progress_seed_hook import ProgressSeedHook

__all__ = ['AtomicCheckpointHook', 'ProgressSeedHook']
