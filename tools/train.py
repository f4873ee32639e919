"""Train a model from a config of mmpretrain, mmdet or mmseg."""

import argparse
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmspike.apis.config import load_config
from mmspike.apis.launch import adapt_to_devices, add_common_arguments, is_first_process
from mmspike.apis.resume import newest_good_checkpoint
from mmspike.files import (
    forbid_code_in_checkpoints,
    newest_checkpoint,
    read_training_checkpoint,
)
from mmspike.folder_lock import FolderInUseError, FolderLock
from mmspike.hooks import NotFiniteError, UnreadableFileError
from mmspike.modules import unwrapped
from mmspike.neurons import NeuronMismatchError
from mmspike.pretrained import check_pretrained_files
from mmspike.weights import check_weights


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint; without a value, from the newest in the work directory',
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
    """Apply the command line to the config."""
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


def choose_checkpoint(cfg: Config, args: argparse.Namespace) -> dict | None:
    """Choose the checkpoint that training resumes from or begins with.

    Returns:
        Content of the file that the whole model begins with, if there is one.

    Raises:
        FileNotFoundError, ValueError: There is no such file, or none that can be read.
    """
    resume = args.resume
    if cfg.get('resume') and not resume:
        resume = cfg.get('load_from') or 'auto'
    if resume == 'auto':
        resume = newest_in(cfg.work_dir, args.launcher)
    elif resume:
        check_resumed(resume)
    cfg.resume = resume is not None
    if cfg.resume:
        cfg.load_from = resume
        return None
    check_pretrained_files(cfg.model)
    source = cfg.get('load_from')
    return read_training_checkpoint(source) if source and '://' not in source else None


def check_stored_logits(model: dict) -> None:
    """See that the folder of a teacher's logits is complete, if the model names one.

    Raises:
        FileNotFoundError, ValueError: There is no such folder, or it is not complete.
    """
    folder = model.get('teacher_logits')
    if folder:
        from mmspike.classifiers.logits_folder import read_header  # needs mmpretrain

        read_header(Path(folder))


def newest_in(work_dir: str, launcher: str) -> str | None:
    """The newest readable checkpoint; damaged ones are reported."""
    found, faults = newest_good_checkpoint(work_dir)
    if found is None and faults:
        raise ValueError(
            f'--resume: no checkpoint in {work_dir} can be resumed: {"; ".join(faults)}. Remove '
            'these files to start again, or name another --work-dir'
        )
    if is_first_process(launcher):
        for fault in faults:
            print(f'--resume: {fault}; resuming from {found}')
        if found is None:
            print(f'--resume: no checkpoint in {work_dir} yet, starting from the beginning')
    return None if found is None else str(found)


def check_resumed(path: str) -> None:
    """See that a checkpoint can be read; if not, name a good one beside it."""
    try:
        read_training_checkpoint(path)
    except (OSError, ValueError) as error:
        beside, _ = newest_good_checkpoint(Path(path).parent)
        hint = f'. The newest good checkpoint beside it is {beside}' if beside else ''
        raise ValueError(f'{error}{hint}') from None


def interrupted(cfg: Config, args: argparse.Namespace) -> str:
    """The message for a user who stops a training."""
    newest = newest_checkpoint(cfg.work_dir)
    state = f'the newest checkpoint is {newest}' if newest else 'there is no checkpoint yet'
    if args.launcher != 'none':
        return f'interrupted; {state}. To resume, start it as before, with --resume'
    typed = [word for word in sys.argv[1:] if not word.startswith('--resume=')]
    if '--resume' in typed:
        place = typed.index('--resume')
        del typed[place : place + (2 if typed[place + 1 : place + 2] == [args.resume] else 1)]
    # Behind the config, so that no option takes it as its value.
    typed.insert(typed.index(args.config) + 1, '--resume')
    command = shlex.join([sys.executable, sys.argv[0], *typed])
    return f'interrupted; {state}. To resume: {command}'


def train(cfg: Config, weights: dict | None) -> None:
    """Train; ``weights`` are those of the file that the model begins with."""
    runner = Runner.from_cfg(cfg)
    if weights is not None:
        try:
            check_weights(unwrapped(runner.model), weights, cfg.load_from, partly=True)
        except ValueError as error:
            sys.exit(f'train.py: {error}')
    check_batches(runner)
    runner.train()


def check_batches(runner: Runner) -> None:
    """Exit with a message if the training set gives no batch; mmengine's error names no cause."""
    loader = runner.train_dataloader
    if hasattr(loader, '__len__') and not len(loader):
        sys.exit(
            f'train.py: the training set holds {len(loader.dataset)} samples, and no batch of '
            f'{loader.batch_size} can be made of them: set train_dataloader.batch_size to less '
            '(--cfg-options train_dataloader.batch_size=N), or give it more samples'
        )


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    with ExitStack() as stack:
        try:
            cfg = load_config(args.config, args.cfg_options, args.work_dir)
            apply_options(cfg, args)
            if is_first_process(args.launcher):
                stack.enter_context(FolderLock(cfg.work_dir))
            weights = choose_checkpoint(cfg, args)
            check_stored_logits(cfg.model)
            adapt_to_devices(cfg, args.launcher)
        except (OSError, ValueError, FolderInUseError) as error:
            sys.exit(f'train.py: {error}')
        try:
            train(cfg, weights)
        except (FolderInUseError, NeuronMismatchError, NotFiniteError) as error:
            sys.exit(f'train.py: {error}')
        except UnreadableFileError as error:
            # A loader's process puts its traceback in front of it.
            last = str(error).strip().splitlines()[-1]
            sys.exit(f'train.py: {last.rpartition("UnreadableFileError: ")[-1]}')
        except KeyboardInterrupt:
            print(f'train.py: {interrupted(cfg, args)}', file=sys.stderr)
            sys.exit(130)


if __name__ == '__main__':
    main()
