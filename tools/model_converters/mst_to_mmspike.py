"""Convert published MST weights: ImageNet, CIFAR-10 and CIFAR-100, 0 % and 75 % masking."""

import argparse

from mmspike.conversion import Conversion, convert_mst_file
from mmspike.conversion.command_line import converter_parser, run_converter


def convert(args: argparse.Namespace) -> Conversion:
    return convert_mst_file(args.source, args.target, levels=args.levels)


if __name__ == '__main__':
    parser = converter_parser(__doc__, 'bic-L/Masked-Spiking-Transformer')
    parser.add_argument('--levels', type=int, default=16, help='levels of the QCFS neurons')
    run_converter(parser, convert)
