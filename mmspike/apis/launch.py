"""Adapting a run to the available devices."""

import argparse
import os
import subprocess

import torch
from mmengine.config import Config

from mmspike.apis.arguments import add_cfg_options
from mmspike.apis.config import leave_amp_out, replace_sync_bn

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and evaluation share."""
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    # torchrun says the local rank in the environment; older launchers pass it as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def is_first_process(launcher: str) -> bool:
    """Whether this process writes files; works before the processes are connected.

    Args:
        launcher: One of :data:`LAUNCHERS`.
    """
    names = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
    return launcher == 'none' or os.environ.get(names[launcher], '0') == '0'


def adapt_to_devices(cfg: Config, launcher: str) -> None:
    """Make a config run with or without GPUs, alone or with other processes.

    Without a GPU, SyncBN becomes BN and mixed precision full precision, and processes talk over
    gloo: mmengine starts process groups for GPUs only and would fail in ``torch.cuda.set_device``.

    Args:
        cfg: Config, changed in place.
        launcher: One of :data:`LAUNCHERS`.

    Raises:
        ValueError: The launcher is ``'mpi'`` and there is no GPU.
    """
    cfg.launcher = launcher
    if torch.cuda.is_available():
        return
    replace_sync_bn(cfg)
    leave_amp_out(cfg)
    cfg.pop('sync_bn', None)
    if launcher == 'none':
        return
    if launcher == 'mpi':
        raise ValueError("launcher 'mpi' needs GPUs; without, use 'pytorch' (torchrun) or 'slurm'")
    if launcher == 'slurm':
        _read_slurm_environment()
    torch.distributed.init_process_group('gloo')
    cfg.setdefault('model_wrapper_cfg', dict(type='MMDistributedDataParallel'))
    cfg.model_wrapper_cfg.update(device_ids=None)
    # A step that leaves a parameter without gradient is an error, as it is on GPUs.
    cfg.model_wrapper_cfg.setdefault(
        'find_unused_parameters', cfg.get('find_unused_parameters', False)
    )
    cfg.model_wrapper_cfg.setdefault('broadcast_buffers', False)


def _read_slurm_environment() -> None:
    """Set torch's environment variables from those of Slurm."""
    nodes = os.environ['SLURM_STEP_NODELIST']
    first = subprocess.run(
        ['scontrol', 'show', 'hostnames', nodes], check=True, capture_output=True, text=True
    ).stdout.split()[0]
    os.environ.setdefault('MASTER_ADDR', first)
    os.environ.setdefault('MASTER_PORT', '29500')
    os.environ['WORLD_SIZE'] = os.environ['SLURM_NTASKS']
    os.environ['RANK'] = os.environ['SLURM_PROCID']
    os.environ['LOCAL_RANK'] = os.environ['SLURM_LOCALID']
