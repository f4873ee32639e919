"""Evaluate a checkpoint with a config of mmpretrain, mmdet or mmseg."""

import argparse
import os
import sys

from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from mmspike.apis.config import load_config
from mmspike.apis.launch import adapt_to_devices, add_common_arguments
from mmspike.files import forbid_code_in_checkpoints, read_training_checkpoint
from mmspike.modules import unwrapped
from mmspike.weights import check_weights


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs and metrics')
    parser.add_argument('--out', help='write the predictions to this .pkl file')
    parser.add_argument(
        '--allow-mismatch',
        action='store_true',
        help='evaluate although weights are missing or of another shape; those stay random',
    )
    add_common_arguments(parser)
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out must end in .pkl or .pickle, got {args.out}')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        cfg = load_config(args.config, args.cfg_options, args.work_dir)
        weights = read_training_checkpoint(args.checkpoint)
        adapt_to_devices(cfg, args.launcher)
    except (OSError, ValueError) as error:
        sys.exit(f'test.py: {error}')
    # A resumed training writes resume=True into the config that it leaves.
    cfg.load_from, cfg.resume = args.checkpoint, False
    runner = Runner.from_cfg(cfg)
    if not args.allow_mismatch:
        try:
            check_weights(unwrapped(runner.model), weights, args.checkpoint)
        except ValueError as error:
            sys.exit(f'test.py: {error}. --allow-mismatch evaluates it nevertheless')
    if args.out:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    main()
