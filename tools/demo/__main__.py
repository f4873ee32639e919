"""Train spiking vision transformers on real handwritten digits, evaluate them and look inside.

Three tasks, one after the other: classify digits; find and outline them in scenes (Mask R-CNN);
label scenes pixel by pixel (semantic FPN). The two on scenes begin with the classifier's backbone.
Two more run if they are named: mst trains a Masked Spiking Transformer without time, converts it
and masks its spikes; events classifies what a simulated event camera saw.
Training runs tools/train.py as you would. An interrupted demo goes on where it was; a finished
one starts anew.
"""

import argparse
import sys
import time
from pathlib import Path

from classification import Classification
from common import Result, Task
from console import console
from conversion import Conversion
from detection import Detection
from events import Events
from mmengine.config import DictAction
from rich.panel import Panel
from rich.table import Table
from segmentation import Segmentation

from mmspike.utils.config import load_config

# Those that run if none is named, then the others.
USUAL: dict[str, type[Task]] = {'cls': Classification, 'det': Detection, 'seg': Segmentation}
TASKS: dict[str, type[Task]] = {**USUAL, 'mst': Conversion, 'events': Events}

PRETRAINED = 'model.backbone.init_cfg.checkpoint'


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
    parser.add_argument('--config', help='another config, of digits or scenes; needs one --task')
    parser.add_argument('--work-dir', default='work_dirs/demo', help='output folder')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override values of the config; needs one --task',
    )
    args = parser.parse_args()
    if (args.config or args.cfg_options) and len(args.task) > 1:
        parser.error('--config and --cfg-options are for one task: name it with --task')
    return args


def make_task(name: str, work_dir: str, config: str | None = None, options: dict = {}) -> Task:
    kind = TASKS[name]
    try:
        cfg = load_config(config or kind.config, options)
    except (OSError, ValueError) as error:
        sys.exit(f'demo: {error}')
    if cfg.default_scope != kind.scope:
        sys.exit(f'demo: {config} is for {cfg.default_scope}; --task {name} needs {kind.scope}')
    return kind(Path(config or kind.config), cfg, Path(work_dir), options)


def pretrain(task: Task, work_dir: str) -> str:
    """The classifier's checkpoint, which is trained first if need be."""
    classifier = make_task('cls', work_dir)
    if not classifier.finished:
        console.print(f'{task.title} begins with the backbone of the classifier: first that one')
        classifier.train()
    return str(classifier.checkpoint)


def result_table(results: list[Result], seconds: float) -> Table:
    """A column per task; quality in %."""
    table = Table(title=f'result, after {seconds / 60:.1f} minutes', title_justify='left')
    table.add_column('')
    for result in results:
        table.add_column(result.title, justify='right')
    for name in dict.fromkeys(name for kind in TASKS.values() for name in kind.metrics):
        if any(name in result.metrics for result in results):
            cells = (f'{r.metrics[name]:.1f} %' if name in r.metrics else '-' for r in results)
            table.add_row(name, *cells)
    table.add_section()
    energies = [result.energy for result in results]
    table.add_row('spikes per neuron and step', *(f'{e.counts.mean_rate:.3f}' for e in energies))
    table.add_row('SOPs per image', *(f'{e.totals.sops / 1e6:.1f} M' for e in energies))
    table.add_row('energy per image', *(f'{e.totals.energy_mj:.3f} mJ' for e in energies))
    table.add_row('the same as an ANN', *(f'{e.totals.ann_mj:.3f} mJ' for e in energies))
    table.add_row('ANN / this', *(f'{e.totals.ratio:.1f}' for e in energies))
    table.add_row('same answer on binary spikes', *('{} of {}'.format(*r.same) for r in results))
    table.add_section()
    table.add_row('parameters', *(f'{r.parameters:,}' for r in results))
    table.add_row('training', *(r.training_time for r in results))
    return table


def main() -> None:
    args = parse_args()
    began = time.perf_counter()
    tasks = [make_task(name, args.work_dir, args.config, args.cfg_options) for name in args.task]
    if all(task.finished for task in tasks):
        for task in tasks:
            task.start_anew()
    results = []
    for task in tasks:
        console.print(Panel(f'{task.title}: {task.config_path.stem}', expand=False))
        if task.pretrained and PRETRAINED not in task.options:
            task.options[PRETRAINED] = pretrain(task, args.work_dir)
        task.train()
        results.append(task.report())
    for result in results:
        console.print(f'{result.title}: {result.checkpoint}', soft_wrap=True)
        for picture in result.pictures:
            console.print(f'  {picture}', soft_wrap=True)
    console.print(result_table(results, time.perf_counter() - began))


if __name__ == '__main__':
    main()
