"""Convert published SDT v3 weights: base classifiers (5.1M, 10M, 19M), detectors, segmentors."""

import argparse
import sys

from mmengine.registry import MODELS, init_default_scope
from rich.console import Console

from mmspike.conversion import Conversion, convert_sdtv3_dense_file, convert_sdtv3_file
from mmspike.utils.config import load_config


def convert(args: argparse.Namespace) -> Conversion:
    if args.config is None:
        return convert_sdtv3_file(args.source, args.target, D=args.D)
    cfg = load_config(args.config)
    init_default_scope(cfg.get('default_scope'))
    return convert_sdtv3_dense_file(args.source, args.target, MODELS.build(cfg.model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='file of BICLab/Spike-Driven-Transformer-V3')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--D', type=int, default=4, help='largest integer of the neurons')
    parser.add_argument('--config', help='for a detector or segmentor: the config it is for')
    parser.add_argument('--verbose', action='store_true', help='list every renamed key')
    args = parser.parse_args()
    try:
        done = convert(args)
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f'sdtv3_to_mmspike.py: {error}')
    console = Console(soft_wrap=True, highlight=False)
    if args.verbose:
        for old, new in done.renamed.items():
            console.print(f'{old} -> {new}')
    for name, keys in (('missing', done.missing), ('unexpected', done.unexpected)):
        for key in keys:
            console.print(f'{name}: {key}', style='red')
    console.print(
        f'{args.target}: arch {done.arch}, {len(done.renamed)} renamed, '
        f'{len(done.missing)} missing, {len(done.unexpected)} unexpected'
    )


if __name__ == '__main__':
    main()
