"""Compare an exported file with its checkpoint on data, and say what its layers take."""

import argparse
import json
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

from mmengine.registry import init_default_scope
from rich.table import Table

from mmspike.apis.arguments import add_cfg_options
from mmspike.apis.config import load_config, replace_sync_bn
from mmspike.apis.evaluation import build_test_loader
from mmspike.apis.inference import check_scope
from mmspike.apis.model import build_model
from mmspike.apis.terminal import progress_bar, tool_console
from mmspike.deploy import MissingExtraError
from mmspike.deploy.agreement import (
    Comparison,
    LayerInput,
    PartAgreement,
    check_same_model,
    layer_inputs,
)
from mmspike.deploy.onnx_files import fingerprint, part_path, read_onnx
from mmspike.deploy.runtimes import RUNTIMES
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.neurons import NeuronMismatchError

console = tool_console(file_width=110)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('file', type=Path, help='what export_onnx.py made of it')
    parser.add_argument(
        '--images', type=int, default=64, help='at least so many test images; default 64'
    )
    parser.add_argument('--runtime', choices=('auto', *RUNTIMES), default='auto')
    parser.add_argument('--threads', type=int, help='default: as the runtime chooses')
    parser.add_argument('--layers', action='store_true', help='print all layers and neurons')
    parser.add_argument('--out', type=Path, help='write everything to this .json file')
    add_cfg_options(parser)
    return parser.parse_args()


def compare(args: argparse.Namespace) -> list[PartAgreement]:
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg, args.config)
    replace_sync_bn(cfg)
    init_default_scope(cfg.default_scope)
    model = build_model(cfg, args.checkpoint)
    _, metadata = read_onnx(args.file)
    check_same_model(args.file, metadata, fingerprint(model), args.checkpoint)
    loader = build_test_loader(cfg)
    comparison = None
    with progress_bar(console) as progress:
        batches = -(-args.images // loader.batch_size)
        for batch in progress.track(islice(loader, batches), batches, description='comparing'):
            if comparison is None:
                images = model.data_preprocessor(batch, False)['inputs']
                comparison = Comparison(model, args.file, images, args.runtime, args.threads)
            comparison.add(batch)
    if comparison is None:
        raise ValueError('the test data of the config is empty')
    return list(comparison.found.values())


def percent(share: float, digits: int) -> str:
    """A share in percent, which is 100 % of all alone."""
    if share < 1:
        share = min(share, 1 - 10 ** -(digits + 2))
    return f'{share:.{digits}%}'


def agreement_table(parts: list[PartAgreement]) -> Table:
    table = Table(title='agreement with the checkpoint', title_justify='left')
    for name in ('part', 'inputs', 'neurons', 'equal integers', 'in the worst neuron',
                 'output differs by', 'of the largest'):  # fmt: skip
        table.add_column(name, justify='left' if name == 'part' else 'right')
    for part in parts:
        equal = sum(one.equal for one in part.neurons.values())
        total = sum(one.total for one in part.neurons.values())
        worst = min((one.share for one in part.neurons.values()), default=1.0)
        table.add_row(
            part.name, str(part.inputs), str(len(part.neurons)),
            percent(equal / total, 5) if total else '-', percent(worst, 4),
            f'{part.difference:.2e}', f'{part.relative_difference:.1e}',
        )  # fmt: skip
    return table


def layer_table(layers: list[LayerInput]) -> Table:
    table = Table(title='what layers with weights take', title_justify='left')
    for name in ('takes', 'weights', 'layers'):
        table.add_column(name, justify='right' if name == 'layers' else 'left')
    for (takes, weights), count in Counter((one.takes, one.weights) for one in layers).items():
        table.add_row(takes, weights, str(count))
    return table


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        parts = compare(args)
        layers = [
            layer for part in parts for layer in layer_inputs(part_path(args.file, part.name))
        ]
    except (OSError, ValueError, NeuronMismatchError, MissingExtraError) as error:
        sys.exit(f'check.py: {error}')
    console.print(agreement_table(parts))
    console.print(layer_table(layers))
    if args.layers:
        for layer in layers:
            console.print(f'{layer.layer}: takes {layer.takes}, weights {layer.weights}')
        for part in parts:
            for name, one in part.neurons.items():
                console.print(f'{name}: {one.share:.4%} equal, off by {one.largest} at most')
    real = [layer.layer for layer in layers if layer.takes == 'real numbers']
    if real:
        console.print(f'real numbers enter: {", ".join(real)}', soft_wrap=True)
    if args.out:
        content = dict(
            parts=[
                dict(
                    name=part.name, inputs=part.inputs, difference=part.difference,
                    largest=part.largest,
                    neurons={name: vars(one) for name, one in part.neurons.items()},
                )
                for part in parts
            ],
            layers=[vars(layer) for layer in layers],
        )  # fmt: skip
        with atomic_write(args.out) as file:
            file.write(json.dumps(content, indent=2).encode())


if __name__ == '__main__':
    main()
