"""Export a model to ONNX files, which ONNX Runtime, OpenVINO and others run without mmspike."""

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.table import Table

from mmspike.apis.arguments import add_cfg_options
from mmspike.apis.config import load_config, replace_sync_bn
from mmspike.apis.evaluation import build_test_loader
from mmspike.apis.inference import check_scope
from mmspike.apis.model import build_model
from mmspike.apis.terminal import tool_console
from mmspike.deploy import MissingExtraError, export_onnx
from mmspike.deploy.onnx_export import PRECISIONS
from mmspike.deploy.onnx_files import read_onnx
from mmspike.deploy.rounding import ROUNDINGS
from mmspike.files import forbid_code_in_checkpoints
from mmspike.masking import set_masking
from mmspike.neurons import NeuronMismatchError

console = tool_console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', type=Path, required=True, help='file to be written: model.onnx')
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='float32',
        help='int8: spikes in 8 bits, which is exact, and rounded weights behind them',
    )
    parser.add_argument(
        '--int8-read-out', action='store_true', help="round the weights of the heads' last layers"
    )
    parser.add_argument(
        '--int8-input', action='store_true',
        help='round images to 8 bits as well, and the weights of the layers that take them',
    )  # fmt: skip
    parser.add_argument(
        '--keep', metavar='REGEX', help='layers with such names keep float32 weights'
    )
    parser.add_argument(
        '--rounding',
        choices=ROUNDINGS,
        default='nearest',
        help='of int8 weights; bias and feedback look at training images',
    )
    parser.add_argument(
        '--calibrate', type=int, default=16, metavar='N', help='batches of them; default 16'
    )
    parser.add_argument(
        '--all-spikes',
        action='store_true',
        help='of a network whose spikes are masked at random: send all of them',
    )
    parser.add_argument(
        '--free-size',
        action=argparse.BooleanOptionalAction,
        help='leave height and width free; default: of detectors and segmentors',
    )
    parser.add_argument(
        '--size', nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'), help='of the images'
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.calibrate < 1:
        parser.error('--calibrate must be positive')
    if args.rounding != 'nearest' and args.precision != 'int8':
        parser.error(f'--rounding {args.rounding} needs --precision int8')
    for option in ('int8_input', 'int8_read_out', 'keep'):
        if getattr(args, option) and args.precision != 'int8':
            parser.error(f'--{option.replace("_", "-")} needs --precision int8')
    try:
        re.compile(args.keep or '')
    except re.error as error:
        parser.error(f'--keep {args.keep} is no regular expression: {error}')
    return args


def training_batches(cfg: Config, count: int) -> Iterator[Any]:
    """Some batches of training images, as the test pipeline prepares them."""
    dataset = dict(cfg.train_dataloader.dataset, pipeline=cfg.test_dataloader.dataset.pipeline)
    loader = dict(cfg.test_dataloader, dataset=dataset, sampler=cfg.train_dataloader.sampler)
    return islice(build_test_loader(Config(dict(test_dataloader=loader))), count)


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        cfg = load_config(args.config, args.cfg_options)
        check_scope(cfg, args.config)
        replace_sync_bn(cfg)
        init_default_scope(cfg.default_scope)
        model = build_model(cfg, args.checkpoint)
        if args.keep and not any(re.search(args.keep, name) for name, _ in model.named_modules()):
            raise ValueError(f'--keep {args.keep} finds no layer of the model')
        if args.all_spikes:
            set_masking(model, {'all': 0})
        calibrates = args.rounding != 'nearest' or args.int8_input
        calibration = training_batches(cfg, args.calibrate) if calibrates else ()
        with console.status('exporting'):
            files = export_onnx(
                cfg,
                model,
                args.out,
                size=args.size,
                free_size=args.free_size,
                keep=args.keep,
                rounding=args.rounding,
                calibration=calibration,
                precision=args.precision,
                int8_input=args.int8_input,
                int8_read_out=args.int8_read_out,
            )
    except (OSError, ValueError, NeuronMismatchError, MissingExtraError) as error:
        sys.exit(f'export_onnx.py: {error}')
    table = Table()
    for name in ('file', 'MB', 'input', 'neurons', 'int8 layers'):
        table.add_column(name, no_wrap=name == 'file', overflow='fold')
    for file in files:
        onnx, metadata = read_onnx(file)
        image = onnx.graph.input[0]
        dims = image.type.tensor_type.shape.dim
        size = ', '.join(str(one.dim_param or one.dim_value) for one in dims)
        table.add_row(
            str(file), f'{file.stat().st_size / 1e6:.1f}', f'{image.name} ({size})',
            str(len(metadata.neurons)), str(len(metadata.int8_layers)),
        )  # fmt: skip
    console.print(table)


if __name__ == '__main__':
    main()
