"""Train spiking vision transformers on real handwritten digits, evaluate them and look inside.

Three tasks, one after the other: classify digits; find and outline them in scenes (Mask R-CNN);
label scenes pixel by pixel (semantic FPN). The two on scenes begin with the classifier's backbone.
Three more run if they are named: mst trains a Masked Spiking Transformer without time, converts it
and masks its spikes; events classifies what a simulated event camera saw; smae pre-trains SDT v3
large without labels and fine-tunes it on a tenth of them.
Training runs tools/train.py as you would. An interrupted demo resumes. A finished training is
reused; --fresh deletes it and starts again.
"""

import argparse
import sys
from pathlib import Path

from console import console, libraries_write_to
from mmengine.config import DictAction

# The tasks that run by default, then the others.
USUAL = ('cls', 'det', 'seg')
TASKS = (*USUAL, 'mst', 'events', 'smae')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='demo', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--task',
        nargs='+',
        choices=TASKS,
        default=list(USUAL),
        help=f'what to run; default: {" ".join(USUAL)}',
    )
    parser.add_argument(
        '--fresh',
        action='store_true',
        help='delete earlier trainings of these tasks in the output folder and start again',
    )
    parser.add_argument('--config', help='another config, of digits or scenes; needs one --task')
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/demo'), help='output folder'
    )
    parser.add_argument(
        '--weights',
        type=Path,
        help='folder to leave trained weights in, where the commands of the documentation look for '
        'them; default checkpoints, but nowhere with --cfg-options',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override values of the config; needs one --task',
    )
    args = parser.parse_args()
    args.task = list(dict.fromkeys(args.task))
    if (args.config or args.cfg_options) and len(args.task) > 1:
        parser.error('--config and --cfg-options are for one task: name it with --task')
    if args.weights is None and not args.cfg_options:
        args.weights = Path('checkpoints')
    return args


def main() -> None:
    args = parse_args()
    log = args.work_dir / 'demo.log'
    console.print(f'output of libraries goes to {log}', soft_wrap=True)
    try:
        with libraries_write_to(log):
            from run import run  # here: the hosts print while they are imported

            run(args)
    except KeyboardInterrupt:
        console.print('\nstopped; run the same command again to resume')
        sys.exit(130)


if __name__ == '__main__':
    main()
