"""Train a model from a config of mmpretrain, mmdet or mmseg."""

import argparse
import os
import sys
from pathlib import Path

# A checkpoint may come from anywhere: never let it run code, whatever a loader asks torch for.
os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmspike.utils.checkpoint import newest_checkpoint, read_training_checkpoint
from mmspike.utils.config import load_config
from mmspike.utils.launch import adapt_to_devices, add_common_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; without a value, from the newest in the work directory',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (GPU only)')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate meanwhile')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the real over the base batch size of the config',
    )
    add_common_arguments(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def apply_options(cfg: Config, args: argparse.Namespace) -> None:
    """Carry the command line over into the config."""
    if args.amp:
        if not torch.cuda.is_available():
            raise ValueError("--amp needs a GPU: mmengine's AmpOptimWrapper has no CPU form")
        kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(f'--amp does not work with optim_wrapper.type={kind!r}')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config')
        cfg.auto_scale_lr.enable = True
    if args.resume:
        found = newest_checkpoint(cfg.work_dir) if args.resume == 'auto' else Path(args.resume)
        if found is None:
            print(f'--resume: no checkpoint in {cfg.work_dir} yet, starting from the beginning')
        else:
            read_training_checkpoint(found)
            cfg.load_from = str(found)
            cfg.resume = True


def main() -> None:
    args = parse_args()
    try:
        cfg = load_config(args.config, args.cfg_options, args.work_dir)
        apply_options(cfg, args)
        adapt_to_devices(cfg, args.launcher)
    except (OSError, ValueError) as error:
        sys.exit(f'train.py: {error}')
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    main()
