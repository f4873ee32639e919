"""Hooks for mmengine's Runner."""

from mmspike.hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from mmspike.hooks.class_check_hook import ClassCheckHook
from mmspike.hooks.cpu_threads_hook import CpuThreadsHook
from mmspike.hooks.file_name_hook import FileNameHook, UnreadableFileError
from mmspike.hooks.finite_loss_hook import FiniteLossHook
from mmspike.hooks.firing_rate_energy_hook import FiringRateEnergyHook
from mmspike.hooks.main_rank_logger_hook import MainRankLoggerHook
from mmspike.hooks.not_finite import NotFiniteError
from mmspike.hooks.precise_ema_hook import PreciseEMAHook
from mmspike.hooks.progress_seed_hook import ProgressSeedHook
from mmspike.hooks.reconstruction_hook import ReconstructionHook
from mmspike.hooks.rsm_schedule_hook import RSMScheduleHook
from mmspike.hooks.settings_hook import SettingsHook
from mmspike.hooks.silent_layers_hook import SilentLayersHook
from mmspike.hooks.timestep_expansion_hook import TimestepExpansionHook

__all__ = [
    'AtomicCheckpointHook',
    'ClassCheckHook',
    'CpuThreadsHook',
    'FileNameHook',
    'FiniteLossHook',
    'FiringRateEnergyHook',
    'MainRankLoggerHook',
    'NotFiniteError',
    'PreciseEMAHook',
    'ProgressSeedHook',
    'RSMScheduleHook',
    'ReconstructionHook',
    'SettingsHook',
    'SilentLayersHook',
    'TimestepExpansionHook',
    'UnreadableFileError',
]
