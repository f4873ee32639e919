"""Convert published MST weights: ImageNet, CIFAR-10 and CIFAR-100, 0 % and 75 % masking."""

import argparse

from command_line import converter_parser, run_converter

from mmspike.converters import Conversion, convert_mst_file


def convert(args: argparse.Namespace) -> Conversion:
    return convert_mst_file(
        args.source, args.target, levels=args.levels, masking_ratio=args.masking_ratio
    )


if __name__ == '__main__':
    parser = converter_parser(__doc__, 'bic-L/Masked-Spiking-Transformer')
    parser.add_argument('--levels', type=int, default=16, help='levels of the QCFS neurons')
    parser.add_argument(
        '--masking-ratio', type=float, default=0.0,
        help='share of spikes masked in training: 0.75 for the files that say so; recorded',
    )  # fmt: skip
    run_converter(parser, convert)
