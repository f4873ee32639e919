"""Convert published SDT v3 weights: base classifiers (5.1M, 10M, 19M), detectors, segmentors."""

import argparse

from command_line import converter_parser, run_converter
from mmengine.registry import MODELS, init_default_scope

from mmspike.apis.config import load_config
from mmspike.converters import Conversion, convert_dense_file, convert_sdtv3_file


def convert(args: argparse.Namespace) -> Conversion:
    if args.config is None:
        return convert_sdtv3_file(args.source, args.target, D=args.D)
    cfg = load_config(args.config)
    init_default_scope(cfg.get('default_scope'))
    return convert_dense_file(args.source, args.target, MODELS.build(cfg.model))


if __name__ == '__main__':
    parser = converter_parser(__doc__, 'BICLab/Spike-Driven-Transformer-V3')
    parser.add_argument('--D', type=int, default=4, help='largest integer of the neurons')
    parser.add_argument('--config', help='for a detector or segmentor: the config it is for')
    run_converter(parser, convert)
