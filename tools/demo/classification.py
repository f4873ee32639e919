"""Train a spiking vision transformer on real handwritten digits, evaluate it and look inside.

It runs tools/train.py and tools/test.py as you would, then shows accuracy, confusion matrix, sample
predictions and firing rates in the terminal and as pictures.
"""

import argparse
import io
import json
import math
import pickle
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.evaluation import ConfusionMatrix
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mmspike import get_timesteps
from mmspike.neurons import BaseNeuron
from mmspike.registry import DATASETS
from mmspike.utils.checkpoint import atomic_write, newest_checkpoint
from mmspike.utils.config import load_config
from mmspike.utils.firing_rate import FiringRate, FiringRateRecorder
from mmspike.visualization import plots, terminal

ROOT = Path(__file__).resolve().parent.parent
CONFIG = (
    'configs/classification/metaspikformer/metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'
)
NUM_SAMPLES = 16
# In every folder that the demo made, and may therefore empty.
MARKER = '.mmspike-demo'

console = Console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default=str(CONFIG), help='a digits config')
    parser.add_argument('--work-dir', help='output folder; default work_dirs/demo/<config name>')
    args = parser.parse_args()
    if args.work_dir is None:
        args.work_dir = str(Path('work_dirs', 'demo', Path(args.config).stem))
    return args


def read_scalars(work_dir: Path) -> list[dict]:
    """Scalars that the runs in ``work_dir`` have logged so far, oldest first."""
    records = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break  # a line that is being written
    return records


def run_tool(tool: str, arguments: list[str], log: Path, watch=None) -> float:
    """Run a tool with its output in ``log``; return the seconds it took.

    ``watch`` is called again and again meanwhile.
    """
    began = time.perf_counter()
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'a') as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / 'tools' / tool), *arguments], stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                if watch:
                    watch()
                time.sleep(0.3)
        except KeyboardInterrupt:
            process.wait()
            console.print('\nstopped; run the same command again to go on from the last epoch')
            sys.exit(130)
    if watch:
        watch()
    if process.returncode:
        console.print(''.join(log.read_text().splitlines(keepends=True)[-25:]), markup=False)
        sys.exit(f'demo: {tool} failed, its output is in {log}')
    return time.perf_counter() - began


def train(cfg: Config, args: argparse.Namespace) -> str:
    """Train with a progress bar and say how long it took.

    An interrupted demo goes on, a finished one starts anew.
    """
    work_dir = Path(args.work_dir)
    epochs = cfg.train_cfg.max_epochs
    unfinished = newest_checkpoint(work_dir) and not (work_dir / 'finished').exists()
    if work_dir.exists() and any(work_dir.iterdir()):
        if not (work_dir / MARKER).exists():
            sys.exit(f'demo: {work_dir} holds files of others; name an empty folder in --work-dir')
        if not unfinished:
            shutil.rmtree(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / MARKER).touch()
    if unfinished:
        console.print('going on with the training that was interrupted')
    columns = (
        TextColumn('training'),
        BarColumn(),
        TextColumn('epoch {task.completed:.1f}/{task.total}  {task.fields[status]}'),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task('training', total=epochs, status='starting')
        with redirect_stdout(io.StringIO()):  # the host's import prints
            images = len(DATASETS.build(cfg.train_dataloader.dataset))
        iterations = math.ceil(images / cfg.train_dataloader.batch_size)

        def watch() -> None:
            losses = [r for r in read_scalars(work_dir) if 'loss' in r]
            accuracies = [r for r in read_scalars(work_dir) if 'accuracy/top1' in r]
            if losses:
                status = f'loss {losses[-1]["loss"]:.3f}'
                if accuracies:
                    status += f'  top-1 {accuracies[-1]["accuracy/top1"]:.1f} %'
                progress.update(task, completed=losses[-1]['step'] / iterations, status=status)

        seconds = run_tool(
            'train.py',
            [args.config, '--work-dir', args.work_dir, '--resume'],
            work_dir / 'train.log',
            watch,
        )
    (work_dir / 'finished').touch()
    return f'{seconds:.0f} s' + (' since it was resumed' if unfinished else '')


def evaluate(args: argparse.Namespace) -> tuple[Path, list[dict]]:
    """Run tools/test.py on the last checkpoint; return it and the predictions."""
    work_dir = Path(args.work_dir)
    checkpoint = newest_checkpoint(work_dir)
    out = work_dir / 'test' / 'predictions.pkl'
    run_tool(
        'test.py',
        [args.config, str(checkpoint), '--work-dir', str(out.parent), '--out', str(out)],
        work_dir / 'test.log',
    )
    with open(out, 'rb') as file:  # written a moment ago by our own process
        return checkpoint, pickle.load(file)


def measure_firing_rates(cfg: Config, checkpoint: Path) -> tuple[Runner, list[FiringRate]]:
    """Run the test set once more and count spikes."""
    cfg = cfg.copy()
    cfg.load_from = str(checkpoint)
    cfg.work_dir = str(Path(cfg.work_dir) / 'firing')
    cfg.log_level = 'ERROR'
    with redirect_stdout(io.StringIO()):  # mmengine prints what it loads
        runner = Runner.from_cfg(cfg)
        with FiringRateRecorder(runner.model) as recorder:
            runner.test()
    return runner, recorder.rates()


def save(figure: plt.Figure, path: Path) -> None:
    with atomic_write(path) as file:
        figure.savefig(file, format='png', dpi=150)
    plt.close(figure)


def main() -> None:
    args = parse_args()
    try:
        cfg = load_config(args.config, work_dir=args.work_dir)
    except (OSError, ValueError) as error:
        sys.exit(f'demo: {error}')
    console.print(Panel(f'mmspike demo: {Path(args.config).stem}', expand=False))
    training_time = train(cfg, args)
    console.print('evaluating the saved checkpoint with tools/test.py ...')
    checkpoint, results = evaluate(args)
    console.print('counting spikes ...')
    runner, rates = measure_firing_rates(cfg, checkpoint)

    dataset = runner.test_dataloader.dataset
    classes = dataset.metainfo['classes']
    predictions = [
        plots.Prediction(
            image=dataset.get_data_info(i)['img'][..., 0],
            truth=int(result['gt_label'][0]),
            label=int(result['pred_label'][0]),
            score=float(result['pred_score'].max()),
        )
        for i, result in enumerate(results)
    ]
    truth, labels = (np.array([getattr(p, k) for p in predictions]) for k in ('truth', 'label'))
    matrix = ConfusionMatrix.calculate(labels, truth, num_classes=len(classes)).numpy()
    accuracy = float((truth == labels).mean())
    # Mistakes are what one wants to see: they come first.
    samples = sorted(predictions, key=lambda p: p.truth == p.label)[:NUM_SAMPLES]

    neurons = [module for module in runner.model.modules() if isinstance(module, BaseNeuron)]
    max_rate = max(getattr(neuron, 'D', 1) for neuron in neurons)
    mean_rate = sum(r.spikes for r in rates) / sum(r.outputs for r in rates)
    iterations = len(runner.train_dataloader)
    records = read_scalars(Path(args.work_dir))
    losses = [(r['step'] / iterations, r['loss']) for r in records if 'loss' in r]
    accuracies = [(r['step'], r['accuracy/top1']) for r in records if 'accuracy/top1' in r]

    pictures = Path(args.work_dir) / 'pictures'
    figure, axes = plt.subplot_mosaic(
        [['training', 'confusion'], ['rates', 'rates']],
        figsize=(12, 8.5),
        height_ratios=(1.3, 1),
        layout='constrained',
    )
    plots.plot_training(axes['training'], losses, accuracies)
    plots.plot_confusion(axes['confusion'], matrix, classes)
    plots.plot_firing_rates(axes['rates'], rates, max_rate)
    save(figure, pictures / 'summary.png')
    figure = plt.figure(figsize=(9, 3.2), layout='constrained')
    plots.draw_samples(figure, samples, classes)
    save(figure, pictures / 'samples.png')

    console.print(terminal.firing_rate_table(rates, 'firing rates on the test set'))
    console.print(terminal.confusion_table(matrix, classes))
    console.print('sample predictions, mistakes first')
    captions = [
        Text(
            f'{classes[p.label]} {p.score:.0%}'
            + ('' if p.label == p.truth else f' (is {classes[p.truth]})'),
            style='green' if p.label == p.truth else 'bold red',
        )
        for p in samples
    ]
    console.print(terminal.sample_grid([p.image for p in samples], captions))
    table = Table(title='result', title_justify='left', show_header=False)
    for name, value in (
        ('top-1 accuracy', f'{accuracy:.2%} of {len(predictions)} held-out digits'),
        ('neurons', f'{neurons[0].describe()["type"]}, T={get_timesteps(runner.model)}'),
        ('parameters', f'{sum(p.numel() for p in runner.model.parameters()):,}'),
        ('mean firing rate', f'{mean_rate:.3f} spikes per neuron and step'),
        ('training time', training_time),
        ('checkpoint', str(checkpoint)),
        ('pictures', ', '.join(str(picture) for picture in sorted(pictures.glob('*.png')))),
    ):
        table.add_row(name, value)
    console.print(table)


if __name__ == '__main__':
    main()
