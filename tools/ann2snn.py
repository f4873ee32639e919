"""Convert a network to integrate-and-fire neurons, and evaluate it after each time step.

Configs may be of mmpretrain, mmdet and mmseg. A network with QCFS activations is converted
directly. In other networks QCFS first replaces the activations, with thresholds calibrated on
training data. (For a training with QCFS, put type='mmspike.QuantisedModel' into the config.) The
tool writes quantised.pth, spiking.py (a config that loads it), conversion.json and, of classifiers,
accuracy_over_time.png.
"""

import argparse
import copy
import json
import re
import sys
from itertools import islice
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.table import Table
from torch import nn

from mmspike.ann2snn import (
    calibrate_thresholds,
    conversion_report,
    convert_to_spiking,
    fold_batch_norms,
    insert_qcfs,
    simulate,
)
from mmspike.apis.arguments import add_cfg_options, add_device
from mmspike.apis.config import load_config
from mmspike.apis.evaluation import build_test_loader, evaluate
from mmspike.apis.launch import adapt_to_devices
from mmspike.apis.model import build_model
from mmspike.apis.terminal import tool_console
from mmspike.classifiers import AccuracyOverTime
from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.neurons import QCFS, BaseNeuron
from mmspike.visualization.plots import plot_accuracy_over_time

console = tool_console(file_width=130)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--timesteps', type=int, default=64, help='time steps T; default 64')
    parser.add_argument(
        '--chunk', type=int, default=8, help='steps computed together; memory grows with it'
    )
    parser.add_argument(
        '--levels', type=int, default=16, help='levels of the inserted QCFS activations'
    )
    parser.add_argument('--include', default='', help='regular expression: activations to replace')
    parser.add_argument('--exclude', help='regular expression: activations to leave')
    parser.add_argument(
        '--calibrate', type=int, default=8, metavar='N', help='training batches for thresholds'
    )
    parser.add_argument(
        '--readout', help='module whose outputs are averaged over time; default: see the docs'
    )
    parser.add_argument('--patience', type=int, help='stop after N steps with stable predictions')
    parser.add_argument(
        '--no-fold', action='store_true', help='leave batch norms as layers of their own'
    )
    parser.add_argument('--out', type=Path, help='output folder; default work_dirs/ann2snn/<name>')
    add_device(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    for name in ('timesteps', 'chunk', 'levels', 'calibrate', 'patience'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be positive')
    if args.out is None:
        args.out = Path('work_dirs', 'ann2snn', Path(args.config).stem)
    return args


def quantise(model: nn.Module, cfg: Config, args: argparse.Namespace) -> dict[str, str]:
    """Replace the activations of a model by QCFS, in place."""
    where = dict(levels=args.levels, include=args.include, exclude=args.exclude)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batches = list(islice(loader, args.calibrate))
    return insert_qcfs(model, thresholds=calibrate_thresholds(model, batches, **where), **where)


def write_quantised(
    model: nn.Module,
    cfg: Config,
    args: argparse.Namespace,
    replaced: dict[str, str],
    settings: dict,
    metainfo: dict,
) -> None:
    """The checkpoint of the quantised network, and a config of the spiking one that loads it."""
    checkpoint = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=metainfo))
    with atomic_write(args.out / 'quantised.pth') as file:
        torch.save(checkpoint, file)
    spiking = cfg.copy()
    spiking.model.setdefault('host', cfg.model.type)
    spiking.model.update(type='mmspike.SpikingModel', simulation=settings)
    if replaced:
        names = '|'.join(map(re.escape, replaced))
        spiking.model.qcfs = dict(levels=args.levels, include=f'^({names})$')
    spiking.load_from = str(args.out / 'quantised.pth')
    with atomic_write(args.out / 'spiking.py') as file:
        file.write(spiking.pretty_text.encode())


def is_quantised(model: nn.Module) -> bool:
    return any(isinstance(module, QCFS) for module in model.modules())


def simulation_settings(cfg: Config, args: argparse.Namespace) -> dict:
    """The options of ``simulate`` that the user chose."""
    answer = 'head' if cfg.default_scope == 'mmpretrain' else None
    options = dict(
        timesteps=args.timesteps,
        chunk=args.chunk,
        readout_module=args.readout,
        scores_module=answer,
        patience=args.patience,
    )
    return {name: value for name, value in options.items() if value is not None}


def result_table(results: dict[str, dict]) -> Table:
    table = Table(title='on the test data', title_justify='left')
    table.add_column('')
    for name in results:
        table.add_column(name, justify='right')
    for key in dict.fromkeys(key for values in results.values() for key in values):
        cells = (f'{values[key]:.4g}' if key in values else '-' for values in results.values())
        table.add_row(key, *cells)
    return table


def convert(args: argparse.Namespace) -> None:
    cfg = load_config(args.config, args.cfg_options)
    adapt_to_devices(cfg, 'none')
    init_default_scope(cfg.get('default_scope'))
    model = build_model(cfg, args.checkpoint, args.device)
    if not is_quantised(model) and any(isinstance(m, BaseNeuron) for m in model.modules()):
        raise ValueError('the network is a spiking one already: there is nothing to convert')
    loader = build_test_loader(cfg)
    networks: dict[str, nn.Module] = {}
    replaced: dict[str, str] = {}
    if not is_quantised(model):
        networks['the network'] = copy.deepcopy(model)
        replaced = quantise(model, cfg, args)
    networks['quantised'] = model

    def run(network: nn.Module) -> None:
        network.test_step(next(iter(loader)))

    plain = convert_to_spiking(model)
    spiking = plain if args.no_fold else fold_batch_norms(plain, run)
    settings = simulation_settings(cfg, args)
    simulate(spiking, **settings)
    title = f'spiking, T={args.timesteps}'
    networks[title] = spiking
    # Wrong options fail here, before the long computations.
    report = conversion_report(spiking, run, replaced=replaced, before=plain)
    console.print(report.table())
    write_quantised(model, cfg, args, replaced, settings, loader.dataset.metainfo)

    results: dict[str, dict] = {}
    over_time = AccuracyOverTime()
    for name, network in networks.items():
        extra = [over_time] if network is spiking and 'scores_module' in settings else []
        with EnergyCounter(network) as counter:
            results[name] = evaluate(
                network, loader, cfg.test_evaluator, extra=extra, title=name, console=console
            )
    energy = EnergyReport(counter, name=title)
    results[title]['energy per image (mJ)'] = energy.totals.energy_mj
    results[title]['the same as an ANN (mJ)'] = energy.totals.ann_mj
    console.print(result_table(results))
    content = dict(results=results, parts=report.as_dict())
    if over_time.curve is not None:
        content['top1_over_time'] = over_time.curve.tolist()
        draw(args.out / 'accuracy_over_time.png', over_time, results, title)
    with atomic_write(args.out / 'conversion.json') as file:
        file.write(json.dumps(content, indent=2, default=float).encode())
    console.print(f'written to {args.out}', soft_wrap=True)


def draw(path: Path, over_time: AccuracyOverTime, results: dict[str, dict], title: str) -> None:
    figure, axes = plt.subplots(figsize=(6.5, 4), layout='constrained')
    levels = {
        name: values['accuracy/top1'] for name, values in results.items() if name != title
        and 'accuracy/top1' in values
    }  # fmt: skip
    plot_accuracy_over_time(axes, {'spiking': over_time.curve}, levels)
    with atomic_write(path) as file:
        figure.savefig(file, format='png', dpi=150)
    plt.close(figure)


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        convert(args)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        sys.exit(f'ann2snn: {error}')


if __name__ == '__main__':
    main()
