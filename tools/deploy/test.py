"""Evaluate an exported file with the data and metrics of a config, beside its checkpoint."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from rich.table import Table

from mmspike.apis.arguments import add_cfg_options
from mmspike.apis.config import load_config, replace_sync_bn
from mmspike.apis.evaluation import build_test_loader, evaluate
from mmspike.apis.inference import check_scope
from mmspike.apis.model import build_model
from mmspike.apis.terminal import tool_console
from mmspike.deploy import MissingExtraError, load
from mmspike.deploy.answers import Answers
from mmspike.deploy.runtimes import RUNTIMES
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.neurons import NeuronMismatchError

console = tool_console(file_width=110)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('files', nargs='+', type=Path, help='what export_onnx.py wrote')
    parser.add_argument(
        '--checkpoint',
        help='evaluate it first; the answers of files are compared with its',
    )
    parser.add_argument('--runtime', choices=('auto', *RUNTIMES), default='auto')
    parser.add_argument('--threads', type=int, help='default: as the runtime chooses')
    parser.add_argument('--out', type=Path, help='write the table to this .json file')
    add_cfg_options(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Column to metric to value."""
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg, args.config)
    replace_sync_bn(cfg)
    init_default_scope(cfg.default_scope)
    models: dict[str, BaseModel] = {}
    if args.checkpoint:
        models['checkpoint'] = build_model(cfg, args.checkpoint)
    names = [file.name for file in args.files]
    for file in args.files:
        name = file.name if names.count(file.name) == 1 else str(file)
        models[name] = load(file, args.runtime, args.threads).model
    loader = build_test_loader(cfg)
    results: dict[str, dict[str, Any]] = {}
    first = None
    for name, model in models.items():
        answers = Answers()
        compared = [answers] if len(models) > 1 else []
        began = time.perf_counter()
        results[name] = evaluate(
            model, loader, cfg.test_evaluator, extra=compared, title=name, console=console
        )
        results[name]['images per second'] = len(loader.dataset) / (time.perf_counter() - began)
        if first is None:
            first = answers
        else:
            equal, total = answers.equal_to(first)
            results[name]['equal answers'] = f'{equal} of {total}'
    return results


def result_table(results: dict[str, dict[str, Any]]) -> Table:
    table = Table(title='on the test data', title_justify='left')
    table.add_column('')
    for name in results:
        table.add_column(name, justify='right')
    for key in dict.fromkeys(key for values in results.values() for key in values):
        cells = [values.get(key, '-') for values in results.values()]
        table.add_row(key, *(f'{x:.4g}' if isinstance(x, float) else str(x) for x in cells))
    return table


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        results = run(args)
    except (OSError, ValueError, NeuronMismatchError, MissingExtraError) as error:
        sys.exit(f'test.py: {error}')
    console.print(result_table(results))
    if args.out:
        with atomic_write(args.out) as file:
            file.write(json.dumps(results, indent=2, default=float).encode())


if __name__ == '__main__':
    main()
