"""Convert a published SDT v3 base checkpoint (5.1M, 10M, 19M) for MetaSpikformer."""

import argparse
import sys

from rich.console import Console

from mmspike.conversion import convert_sdtv3_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='file of BICLab/Spike-Driven-Transformer-V3, Model_Base')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--D', type=int, default=4, help='largest integer of the neurons')
    parser.add_argument('--verbose', action='store_true', help='list every renamed key')
    args = parser.parse_args()
    try:
        done = convert_sdtv3_file(args.source, args.target, D=args.D)
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
