"""Check what is claimed of a spiking network, by running it.

The network is that of a config, or any model of PyTorch. The tool prints a table and writes
claims.json and claims.html.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Iterator
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmspike.apis.arguments import add_cfg_options
from mmspike.apis.config import load_config
from mmspike.apis.evaluation import build_test_loader
from mmspike.apis.inference import check_scope, quiet_hosts
from mmspike.apis.launch import adapt_to_devices
from mmspike.apis.model import build_model
from mmspike.apis.terminal import tool_console
from mmspike.claims import ClaimsReport, check_claims
from mmspike.claims.hosts import claims_of, measure_norms, measure_norms_of_parts
from mmspike.claims.html import claims_page
from mmspike.claims.subject import CANNOT_RUN, LAYOUTS, MOST_SAMPLES, Subject, reason
from mmspike.claims.tables import claims_table
from mmspike.deploy.samples import sample_images
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.neurons import NeuronMismatchError

console = tool_console(file_width=110)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; without, random weights')
    parser.add_argument(
        '--random', type=int, nargs=2, metavar=('H', 'W'),
        help='random images of this size instead of test images of the config',
    )  # fmt: skip
    parser.add_argument('--samples', type=int, default=3, help='size of the batch; default 3')
    parser.add_argument('--out', type=Path, help='output folder; default work_dirs/claims/<name>')
    parser.add_argument(
        '--fail', action='store_true', help='exit with status 1 if a claim is broken'
    )
    foreign = parser.add_argument_group('a model of another project')
    foreign.add_argument(
        '--model', metavar='PACKAGE.MODULE:FACTORY', help='function or class that makes the model'
    )
    foreign.add_argument(
        '--shape', type=int, nargs='+', metavar='N', help='of one sample and step, such as 3 32 32'
    )
    foreign.add_argument(
        '--untrained', action='store_true',
        help='let batch norms take the statistics of the inputs first, so that neurons fire',
    )  # fmt: skip
    foreign.add_argument('--timesteps', type=int, default=1, help='T of the model; default 1')
    foreign.add_argument(
        '--layout', choices=LAYOUTS, default='images',
        help='images (B, ...), frames (B, T, ...), steps (T, B, ...) or folded (T*B, ...); '
        'default images',
    )  # fmt: skip
    add_cfg_options(parser)
    args = parser.parse_args()
    if (args.config is None) == (args.model is None):
        parser.error('give a config, or --model')
    if args.model and not args.shape:
        parser.error('--model takes --shape as well')
    if args.timesteps < 1:
        parser.error(f'--timesteps must be 1 or more, got {args.timesteps}')
    if not 2 <= args.samples <= MOST_SAMPLES:
        parser.error(
            f'--samples must be 2 to {MOST_SAMPLES}, got {args.samples}: each sample of a batch is '
            'compared with all others'
        )
    return args


def say(step: str) -> None:
    """Show what is being checked, in a terminal; nothing clears the line."""
    if console.is_terminal:
        text = f'checking {step} ...' if step else ''
        console.print(text.ljust(console.width - 1), end='\r', overflow='crop', no_wrap=True)


def of_config(args: argparse.Namespace) -> Iterator[ClaimsReport]:
    """The claims about the model of a config."""
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg, args.config)
    adapt_to_devices(cfg, 'none')
    init_default_scope(cfg.default_scope)
    with quiet_hosts():
        model: Any = build_model(cfg, args.checkpoint)
    if args.random or not args.checkpoint:
        images = sample_images(cfg, model, args.random)
        shape = (args.samples, *images.shape[1:])
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        source = 'random'
    else:
        images, source = test_images(cfg, model, args.samples), 'test data of the config'
    if not args.checkpoint:
        measure_norms_of_parts(model, images)
    weights = args.checkpoint or 'random, with norms measured on the inputs'
    for report in claims_of(model, images, Path(cfg.filename).stem, say):
        report.origin.update(config=str(args.config), weights=weights, images=source)
        yield report


def test_images(cfg: Any, model: Any, samples: int) -> Tensor:
    """The first test images, as the model's preprocessor hands them on."""
    cfg.test_dataloader.batch_size = samples
    batch = next(iter(build_test_loader(cfg)))
    images = model.data_preprocessor(batch, False)['inputs']
    if len(images) < samples:
        raise ValueError(f'the test data hold {len(images)} images, not {samples}')
    return images


def of_factory(args: argparse.Namespace) -> ClaimsReport:
    """The claims about a model that a function or class of another project makes."""
    model = build(args.model)
    sizes = {
        'images': (args.samples,),
        'frames': (args.samples, args.timesteps),
        'steps': (args.timesteps, args.samples),
        'folded': (args.timesteps * args.samples,),
    }
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn((*sizes[args.layout], *args.shape), generator=generator)
    subject = Subject(model, inputs, args.layout, args.timesteps)
    try:
        with torch.no_grad():
            subject.run(subject.fresh(), inputs)
    except CANNOT_RUN as error:
        raise ValueError(
            f'--model {args.model} cannot run on {tuple(inputs.shape)}: {reason(error)}; --shape, '
            '--timesteps and --layout say what it takes'
        ) from error
    if args.untrained:
        measure_norms(model, lambda: model(inputs))
    report = check_claims(
        model, inputs, layout=args.layout, timesteps=args.timesteps, name=args.model, progress=say
    )
    weights = 'as the factory made them' + (
        ', with norms measured on the inputs' if args.untrained else ''
    )
    report.origin.update(model=args.model, weights=weights, images='random')
    return report


def build(path: str) -> nn.Module:
    """Call a factory by its path.

    Raises:
        ValueError: There is none, it needs arguments, or what it makes is no module.
    """
    module, _, name = path.partition(':')
    sys.path.insert(0, str(Path.cwd()))  # packages of the current folder, as in `python -m`
    invalidate_caches()
    try:
        factory = getattr(import_module(module), name or '')
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f'--model {path}: {error}; it must be package.module:factory') from None
    if not callable(factory):
        raise ValueError(f'--model {path} is a {type(factory).__name__}, not a function or class')
    needed = [
        key
        for key, one in inspect.signature(factory).parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if needed:
        raise ValueError(
            f'--model {path} needs {", ".join(needed)}: write a function without arguments that '
            'makes the model, and name that'
        )
    model = factory()
    if not isinstance(model, nn.Module):
        raise ValueError(f'--model {path} made a {type(model).__name__}, which is no nn.Module')
    return model


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        reports = [of_factory(args)] if args.model else list(of_config(args))
    except (OSError, ValueError, NeuronMismatchError) as error:
        sys.exit(f'check_claims.py: {error}')
    say('')
    for report in reports:
        console.print(claims_table(report))
    stem = (
        args.model.replace(':', '.')
        if args.model
        else Path(args.config).stem.removeprefix('mmspike::')
    )
    folder = args.out or Path('work_dirs', 'claims', stem)
    content = json.dumps([report.to_dict() for report in reports], indent=1)
    for name, text in (('claims.json', content), ('claims.html', claims_page(reports))):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
        console.print(f'wrote {folder / name}', soft_wrap=True)
    if args.fail and any(report.broken for report in reports):
        sys.exit(1)


if __name__ == '__main__':
    main()
