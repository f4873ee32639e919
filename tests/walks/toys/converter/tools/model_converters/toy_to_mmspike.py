"""Convert published weights of the toy."""

import argparse

from command_line import converter_parser, run_converter

from mmspike.converters import Conversion, convert_toy_file


def convert(args: argparse.Namespace) -> Conversion:
    return convert_toy_file(args.source, args.target)


if __name__ == '__main__':
    run_converter(converter_parser(__doc__, 'the toy'), convert)
