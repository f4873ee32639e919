"""Measure the energy of a network per image, on the images of its config.

Configs may be of mmpretrain, mmdet and mmseg, spiking or not; a network without spikes has MACs
only. The tool prints the layers and writes energy.json, energy.csv, energy.png, rates.png and
energy.html, which contains all results in one file. --vs adds a second network.
"""

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.table import Table

from mmspike.apis.arguments import add_cfg_options, add_device
from mmspike.apis.config import load_config
from mmspike.apis.launch import adapt_to_devices
from mmspike.apis.model import build_model
from mmspike.apis.terminal import progress_bar, tool_console
from mmspike.claims.hosts import claims_of
from mmspike.claims.html import claims_section
from mmspike.claims.tables import claims_table
from mmspike.energy import (
    MEMORIES,
    EnergyCounter,
    EnergyReport,
    Origin,
    UncountedError,
    get_costs,
    write_report,
)
from mmspike.energy.html import energy_page
from mmspike.energy.origin import RANDOM
from mmspike.energy.tables import energy_table
from mmspike.execution.encodings import ENCODINGS
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.hosts import Network
from mmspike.neurons import NeuronMismatchError
from mmspike.recorders.step_rates import StepRateRecorder

# What random images are handed over with, by default_scope.
SAMPLES = {
    'mmpretrain': ('mmpretrain.structures', 'DataSample'),
    'mmdet': ('mmdet.structures', 'DetDataSample'),
    'mmseg': ('mmseg.structures', 'SegDataSample'),
}

console = tool_console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; without, random weights')
    parser.add_argument(
        '--vs', nargs='+', metavar='FILE', help='config, and checkpoint, of a second network'
    )
    parser.add_argument('--images', type=int, default=32, help='number of images; default 32')
    parser.add_argument(
        '--random', type=int, nargs=2, metavar=('H', 'W'), help='random images of this size'
    )
    parser.add_argument('--cost', default='45nm', help='table of costs; default 45nm')
    parser.add_argument(
        '--memory', nargs='?', const='lemaire2022', default=False, choices=tuple(MEMORIES),
        help='estimate reading and writing memory as well, by this model; default lemaire2022',
    )  # fmt: skip
    parser.add_argument(
        '--encoding', default='spike', choices=tuple(ENCODINGS), help='of integers; default spike'
    )
    parser.add_argument(
        '--out', type=Path, help='output folder; default work_dirs/energy/<config name>'
    )
    parser.add_argument('--top', type=int, default=15, help='layers to print; 0 prints all')
    parser.add_argument(
        '--claims', action='store_true', help='check what is claimed of the network as well'
    )
    parser.add_argument(
        '--neurobench', action='store_true', help="NeuroBench's metrics beside those of mmspike"
    )
    parser.add_argument('--strict', action='store_true', help='fail if anything is not counted')
    add_device(parser)
    add_cfg_options(parser, 'the config (not of the second)')
    args = parser.parse_args()
    if args.images < 1 or (args.random and min(args.random) < 1):
        parser.error('--images and --random must be positive')
    if args.vs and len(args.vs) > 2:
        parser.error('--vs takes a config and a checkpoint')
    if args.out is None:
        args.out = Path('work_dirs', 'energy', Path(args.config).stem.removeprefix('mmspike::'))
    return args


def random_batches(cfg: Config, images: int, size: list[int]) -> Iterator[dict]:
    """Noise in the input size of the network, image by image."""
    module, name = SAMPLES[cfg.default_scope]
    sample_type = getattr(import_module(module), name)
    height, width = size
    generator = torch.Generator().manual_seed(0)
    shape = dict(
        img_shape=(height, width), ori_shape=(height, width), pad_shape=(height, width),
        batch_input_shape=(height, width), scale_factor=(1.0, 1.0),
    )  # fmt: skip
    for _ in range(images):
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
        yield dict(inputs=[image], data_samples=[sample_type(metainfo=shape)])


def test_batches(cfg: Config, images: int) -> Iterator[dict]:
    """The first images of the config's test data."""
    loader_cfg = cfg.test_dataloader.copy()
    loader_cfg.batch_size = min(loader_cfg.get('batch_size', 1), images)
    loader = Runner.build_dataloader(loader_cfg, seed=0)
    for batch in loader:
        count = len(batch['inputs'])
        if count > images:
            batch = {key: value[:images] for key, value in batch.items()}
        yield batch
        images -= count
        if images <= 0:
            return


def test_data(cfg: Config) -> str:
    """The test data of the config, in words."""
    if not cfg.get('test_dataloader'):
        raise ValueError('the config has no test_dataloader; give --random H W')
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:  # of a wrapper
        dataset = dataset.dataset
    keys = ('data_root', 'ann_file', 'data_prefix', 'split', 'test_mode')
    values = (f'{key}={dataset[key]}' for key in keys if dataset.get(key) not in (None, '', {}))
    return f'test data of the config: {dataset.type}({", ".join(values)})'


def measure(
    config: str, checkpoint: str | None, args: argparse.Namespace, options
) -> tuple[EnergyReport, list[str]]:
    """Run one network on the images and count; and the claims about it, if they are asked for."""
    cfg = load_config(config, options)
    scope = cfg.get('default_scope')
    if scope not in SAMPLES:
        raise ValueError(
            f'{config} has default_scope={scope!r}; it must be one of {", ".join(SAMPLES)}'
        )
    adapt_to_devices(cfg, 'none')
    init_default_scope(scope)
    model = build_model(cfg, checkpoint, args.device)
    batches = (
        random_batches(cfg, args.images, args.random)
        if args.random
        else test_batches(cfg, args.images)
    )
    name = cfg.get('experiment_name') or Path(cfg.filename).stem
    images = RANDOM if args.random else test_data(cfg)
    origin = Origin.of(config, checkpoint, images)
    counter = EnergyCounter(model, args.strict, args.encoding)
    with progress_bar(console) as progress:
        task = progress.add_task('images', total=args.images)
        with torch.no_grad(), StepRateRecorder(model) as steps, counter:
            for batch in islice(batches, args.images):
                model.test_step(batch)
                progress.update(task, advance=len(batch['inputs']))
    report = EnergyReport(counter, args.cost, name, args.memory, origin, step_rates=steps.rates())
    if args.neurobench:
        console.print(neurobench_table(model, prepared(model, cfg, min(args.images, 32), args)))
    return report, claims_sections(model, cfg, name, args) if args.claims else []


def prepared(model, cfg: Config, images: int, args: argparse.Namespace) -> torch.Tensor:
    """Images as the model's preprocessor hands them on, cut to one size ``(N, ...)``."""
    batches = random_batches(cfg, images, args.random) if args.random else test_batches(cfg, images)
    inputs = [model.data_preprocessor(batch, False)['inputs'] for batch in batches]
    height, width = (min(x.shape[dim] for x in inputs) for dim in (-2, -1))
    return torch.cat([x[..., :height, :width] for x in inputs])


def neurobench_table(model, images: torch.Tensor) -> Table:
    """NeuroBench's metrics of the network, from images to the raw outputs of its head."""
    from mmspike.energy.neurobench import compare_with_neurobench

    table = Table(title="NeuroBench's metrics, per image", title_justify='left')
    for name in ('metric', 'NeuroBench', 'mmspike', 'why'):
        table.add_column(name, justify='left' if name in ('metric', 'why') else 'right')
    for row in compare_with_neurobench(model, images, Network(model)):
        why = 'equal' if row.equal else row.why
        table.add_row(row.metric, f'{row.theirs:,.6g}', f'{row.ours:,.6g}', why)
    return table


def claims_sections(model, cfg: Config, name: str, args: argparse.Namespace) -> list[str]:
    """Sections of the page with the claims about the network, checked on three of the images."""
    reports = list(claims_of(model, prepared(model, cfg, 3, args), name))
    for report in reports:
        console.print(claims_table(report))
    return [claims_section(report) for report in reports]


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        get_costs(args.cost)
        measured = [measure(args.config, args.checkpoint, args, args.cfg_options)]
        if args.vs:
            measured.append(measure(args.vs[0], (args.vs[1:] or [None])[0], args, None))
    except (ImportError, OSError, ValueError, NeuronMismatchError, UncountedError) as error:
        sys.exit(f'energy_report.py: {error}')
    reports = [report for report, _ in measured]
    sections = [section for _, found in measured for section in found]
    for report in reports:
        console.print(energy_table(report, args.top or None))
    if args.vs:
        for key in ['energy_mj', *(['total_mj'] if args.memory else [])]:
            mine, theirs = (getattr(report.totals, key) for report in reports)
            random = any(report.origin.random for report in reports)
            ratio = f', {theirs / mine:.2f} times as much' if mine and not random else ''
            memory = ' with memory' if key == 'total_mj' else ''
            console.print(
                f'{reports[0].name}: {mine:.4g} mJ; {reports[1].name}: {theirs:.4g} mJ{ratio}'
                f'{memory}',
                style='bold',
            )
    files = write_report(reports[0], args.out)
    if args.vs:
        files += write_report(reports[1], args.out / 'vs')
    page = args.out / 'energy.html'
    with atomic_write(page) as file:
        file.write(energy_page(reports, sections).encode())
    console.print('\n'.join(f'wrote {path}' for path in [*files, page]), soft_wrap=True)


if __name__ == '__main__':
    main()
