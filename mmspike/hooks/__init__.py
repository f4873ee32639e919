"""Hooks for mmengine's Runner."""

from mmspike.hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from mmspike.hooks.epoch_seed_hook import EpochSeedHook

__all__ = ['AtomicCheckpointHook', 'EpochSeedHook']
