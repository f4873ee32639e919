"""Measure accuracy and energy of a network whose groups of neurons drop spikes.

Random spike masking (RSM) of Masked Spiking Transformer, for any spiking network of mmpretrain,
mmdet or mmseg. Each group is masked alone at each ratio, and the network is evaluated on the
config's test data. With --finetune it is first trained with the masks. The tool prints a table and
writes rsm_sweep.json, .csv and .png. After an interruption it resumes.
"""

import argparse
import copy
import hashlib
import json
import re
import sys
from itertools import product
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner
from rich.progress import TimeElapsedColumn
from rsm_plot import sweep_png
from rsm_points import NONE, Sweep, SweepPoint, point_key, sweep_table

from mmspike.apis.arguments import add_cfg_options
from mmspike.apis.config import load_config
from mmspike.apis.launch import adapt_to_devices
from mmspike.apis.terminal import progress_bar, tool_console
from mmspike.energy import EnergyCounter, EnergyReport, get_costs
from mmspike.files import (
    atomic_write,
    forbid_code_in_checkpoints,
    newest_checkpoint,
    read_training_checkpoint,
)
from mmspike.masking import set_masking
from mmspike.masking.ratios import masked_neurons
from mmspike.neurons import NeuronMismatchError
from mmspike.neurons.masking import check_masking_ratio
from mmspike.weights import check_weights

METRICS = {'mmpretrain': 'accuracy/top1', 'mmdet': 'coco/bbox_mAP', 'mmseg': 'mIoU'}

console = tool_console(file_width=130)  # a file has room for whole names


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--ratios', type=float, nargs='+', default=[0, 0.25, 0.5, 0.75, 0.9],
        help='shares of spikes to drop, in [0, 1); 0 is always there',
    )  # fmt: skip
    parser.add_argument(
        '--groups', nargs='+', default=['all'],
        help="groups that the network declares (self_attention, mlp, ..., all), or patterns over "
        "names of neurons; 'self_attention+mlp' masks both",
    )  # fmt: skip
    parser.add_argument(
        '--finetune', type=int, default=0, metavar='EPOCHS',
        help='train so many epochs with the masks before each evaluation, at a tenth of the '
        'learning rate; default 0',
    )  # fmt: skip
    parser.add_argument('--metric', help='the score; default top-1 accuracy, box AP or mIoU')
    parser.add_argument('--cost', default='45nm', help='table of energy costs; default 45nm')
    parser.add_argument(
        '--out', type=Path, help='output folder; default work_dirs/rsm_sweep/<config name>'
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    try:
        args.ratios = sorted({0.0, *map(check_masking_ratio, args.ratios)})
    except ValueError as error:
        parser.error(f'--ratios: {error}')
    if args.finetune < 0:
        parser.error(f'--finetune must not be negative, got {args.finetune}')
    args.groups = list(dict.fromkeys(args.groups))
    if args.out is None:
        args.out = Path('work_dirs', 'rsm_sweep', Path(args.config).stem)
    return args


def prepare(args: argparse.Namespace) -> Config:
    """The config, quiet, with the same random numbers in each evaluation.

    Raises:
        OSError, ValueError: Config or checkpoint cannot be read, or there is nothing to test on.
    """
    cfg = load_config(args.config, args.cfg_options, str(args.out / 'runs'))
    if not cfg.get('test_dataloader'):
        raise ValueError(f'{args.config} has no test_dataloader')
    if args.finetune and cfg.train_cfg.get('type', 'EpochBasedTrainLoop') != 'EpochBasedTrainLoop':
        raise ValueError(f'{args.config} does not train by epochs: --finetune cannot be used')
    adapt_to_devices(cfg, 'none')
    cfg.log_level = 'ERROR'
    cfg.load_from, cfg.resume = args.checkpoint, False
    own = ('mmspike.RSMScheduleHook', 'mmspike.ProgressSeedHook')
    others = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] not in own]
    cfg.custom_hooks = [dict(type='mmspike.ProgressSeedHook'), *others]
    return cfg


def settings_of(cfg: Config, args: argparse.Namespace) -> dict:
    """Settings that the points depend on. Points of other settings are not reused."""
    content = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    return dict(
        config=hashlib.sha256(content.encode()).hexdigest(),
        checkpoint=hashlib.sha256(Path(args.checkpoint).read_bytes()).hexdigest(),
        metric=args.metric or METRICS.get(cfg.get('default_scope'), ''),
        cost=args.cost,
        finetune=args.finetune,
    )


def loaded(cfg: Config, checkpoint: str) -> Runner:
    """A Runner with the checkpoint's weights."""
    runner = Runner.from_cfg(cfg)
    check_weights(runner.model, read_training_checkpoint(checkpoint), checkpoint)
    runner.load_or_resume()
    return runner


def finetuned(cfg: Config, group: str, ratio: float, epochs: int) -> Runner:
    """A Runner that has trained with the masks; it resumes after an interruption."""
    cfg = copy.deepcopy(cfg)
    cfg.experiment_name = f'{re.sub("[^A-Za-z0-9_]+", "_", group)}-{ratio:g}'
    cfg.work_dir = str(Path(cfg.work_dir, cfg.experiment_name))
    cfg.custom_hooks.append(dict(type='mmspike.RSMScheduleHook', ratios=masks_of(group, ratio)))
    cfg.optim_wrapper.optimizer.lr *= 0.1
    cosine = dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, convert_to_iter_based=True)
    cfg.param_scheduler = [cosine]
    cfg.train_cfg.max_epochs = epochs
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint.save_best = None
    newest = newest_checkpoint(cfg.work_dir)
    if newest:
        cfg.load_from, cfg.resume = str(newest), True
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def masks_of(group: str, ratio: float) -> dict[str, float]:
    """The argument of :func:`set_masking`."""
    return dict.fromkeys(group.split('+'), ratio)


def evaluate(runner: Runner, group: str, ratio: float, settings: dict) -> SweepPoint:
    """Test the model with one group masked.

    Raises:
        ValueError: The metric is not among those of the test.
    """
    set_masking(runner.model, {'all': 0.0})
    if ratio:
        set_masking(runner.model, masks_of(group, ratio))
    with EnergyCounter(runner.model) as counter:
        metrics = runner.test()
    name = settings['metric']
    if name not in metrics:
        raise ValueError(f'there is no metric {name!r}; --metric takes {", ".join(metrics)}')
    report = EnergyReport(counter, settings['cost'])
    return SweepPoint(
        *point_key(group, ratio),
        score=float(metrics[name]),
        energy_mj=report.totals.energy_mj,
        sops=report.totals.sops,
        rate=report.counts.mean_rate,
    )


def run(args: argparse.Namespace) -> Sweep:
    """Evaluate the points that are missing."""
    get_costs(args.cost)
    cfg = prepare(args)
    read_training_checkpoint(args.checkpoint)
    sweep = Sweep(args.out, settings_of(cfg, args))
    restored = sweep.restore()
    wanted = dict.fromkeys(point_key(*pair) for pair in product(args.groups, args.ratios))
    missing = [key for key in wanted if key not in sweep.points]
    if restored:
        console.print(f'{len(wanted) - len(missing)} of {len(wanted)} points are there already')
    if not missing:
        return sweep
    runner = loaded(cfg, args.checkpoint)
    for part in '+'.join(args.groups).split('+'):
        masked_neurons(runner.model, part)  # an error now, not after hours
    with progress_bar(console, TimeElapsedColumn()) as progress:
        task = progress.add_task('points', total=len(wanted), completed=len(wanted) - len(missing))
        for group, ratio in missing:
            progress.update(task, description=f'{group} {ratio:g}')
            group = 'all' if group == NONE else group
            if args.finetune:
                runner = finetuned(cfg, group, ratio, args.finetune)
            sweep.add(evaluate(runner, group, ratio, sweep.settings))
            progress.advance(task)
    return sweep


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        sweep = run(args)
    except (OSError, ValueError, NeuronMismatchError) as error:
        sys.exit(f'rsm_sweep.py: {error}')
    title = Path(args.config).stem
    if args.finetune:
        title += f', {args.finetune} epochs of training with masks'
    console.print(sweep_table(sweep, args.groups, args.ratios, title))
    picture = sweep.path.with_suffix('.png')
    with atomic_write(picture) as file:
        file.write(sweep_png(sweep, args.groups, args.ratios, title))
    for path in (sweep.path, sweep.path.with_suffix('.csv'), picture):
        console.print(f'wrote {path}', soft_wrap=True)


if __name__ == '__main__':
    main()
