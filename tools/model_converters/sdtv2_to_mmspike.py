"""Convert published SDT v2 (Meta-SpikeFormer) classifiers: 15M, 31M, 55M, distilled or not."""

import argparse

from command_line import converter_parser, run_converter

from mmspike.converters import Conversion, convert_sdtv2_file


def convert(args: argparse.Namespace) -> Conversion:
    return convert_sdtv2_file(args.source, args.target)


if __name__ == '__main__':
    run_converter(converter_parser(__doc__, 'BICLab/Spike-Driven-Transformer-V2'), convert)
