"""Convert published SDT weights: ImageNet (8-384, 6-512, 8-512, 10-512, 8-768), CIFAR, events."""

import argparse

from command_line import converter_parser, run_converter

from mmspike.converters import Conversion, convert_sdt_file


def convert(args: argparse.Namespace) -> Conversion:
    return convert_sdt_file(args.source, args.target, ema=args.ema)


if __name__ == '__main__':
    parser = converter_parser(__doc__, 'BICLab/Spike-Driven-Transformer')
    parser.add_argument('--ema', action='store_true', help='take the averaged weights')
    run_converter(parser, convert)
