"""Convert a file of weights that the authors of a model published.

The keys of the file tell which model it is. TARGET may be left out for a file whose usual place is
known (docs/weights.md).
"""

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console

from mmspike.apis.published import model_of, published_as
from mmspike.converters import Conversion
from mmspike.converters.convert import convert_weights_of, converter_for
from mmspike.converters.families import CONVERTERS, Converter
from mmspike.converters.weights import checkpoint_of, read_weights, write_checkpoint
from mmspike.metafiles import WeightsFile, models, weights_named
from mmspike.weights import check_weights
from mmspike.zoo import config_path

CONSOLE = Console(soft_wrap=True, highlight=False)


def parse_args() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='published file')
    parser.add_argument('target', nargs='?', help='file to write')
    parser.add_argument('--config', help='the config it is for; a detector or segmentor needs one')
    parser.add_argument('--ema', action='store_true', help='take the averaged weights')
    parser.add_argument('--verbose', action='store_true', help='list every renamed key')
    for name, default in sorted(all_options().items()):
        takers = ', '.join(one.name for one in CONVERTERS.values() if name in one.options)
        parser.add_argument(
            f'--{name.replace("_", "-")}', type=type(default), default=argparse.SUPPRESS,
            help=f'option of {takers}; the default is {default}',
        )  # fmt: skip
    return parser, parser.parse_args()


def all_options() -> dict[str, int | float]:
    """Name and default of every option that a converter has."""
    return {name: value for one in CONVERTERS.values() for name, value in one.options.items()}


def convert(args: argparse.Namespace) -> None:
    """Convert, write, and say what became of the file.

    Raises:
        OSError, TypeError, ValueError: The files or options are not acceptable.
    """
    options = {name: value for name, value in vars(args).items() if name in all_options()}
    published = weights_named(args.source)
    if published and published.page and not Path(args.source).exists():
        raise FileNotFoundError(
            f'there is no file {args.source}: download it from {published.url or published.page}'
        )
    weights = read_weights(args.source, ema=args.ema)
    model = model_of(args.config) if args.config else None
    conversion = convert_weights_of(args.source, weights, model, **options)
    converter = converter_for(weights)
    if model is not None and not converter.needs_model:
        check_weights(model, checkpoint_of(conversion), args.source)
    files = [] if args.config else published_as(conversion, converter.name, args.source)
    target = args.target or usual_place(args.source, files)
    write_checkpoint(conversion, args.source, target)
    report(conversion, target, args.verbose)
    advise(files, converter, args.config, target)


def usual_place(source: str, files: list[WeightsFile]) -> str:
    """Where a file belongs, by its name or by what it can be.

    Raises:
        ValueError: It has no such place, or may be one of several files.
    """
    if weights_named(source) in files:
        files = files[:1]
    known = [one for one in files if one.target]
    if len(known) == 1:
        return known[0].target
    may_be = ' or '.join(
        f'"{one.content}" ({shlex.join([one.target, *one.words()])})' for one in known
    )
    what = f'may be {may_be}' if known else 'is none of the files in docs/weights.md'
    raise ValueError(f'{source} {what}: name a file to write')


def report(conversion: Conversion, target: str, verbose: bool) -> None:
    """Say what became of the keys."""
    if verbose:
        for old, new in conversion.renamed.items():
            CONSOLE.print(f'{old} -> {new}')
    for name, keys in (('missing', conversion.missing), ('unexpected', conversion.unexpected)):
        for key in keys:
            CONSOLE.print(f'{name}: {key}', style='red')
    unused = f', {len(conversion.unused)} never used' if conversion.unused else ''
    CONSOLE.print(
        f'{target}: arch {conversion.arch}, {len(conversion.renamed)} renamed, '
        f'{len(conversion.missing)} missing, {len(conversion.unexpected)} unexpected{unused}'
    )


def advise(files: list[WeightsFile], converter: Converter, config: str | None, target: str) -> None:
    """Name the config for the weights, how to test with it, and what the file may be besides."""
    if config is None and not files:
        CONSOLE.print('no config of mmspike has this network')
        return
    path = config or path_of(files[0].config)
    CONSOLE.print(f'config: {path}')
    CONSOLE.print(f'test it with: {shlex.join(["python", "tools/test.py", path, target])}')
    for other in files[1:]:
        if other.options != files[0].options:
            options = shlex.join(other.words())
            CONSOLE.print(f'If it is "{other.content}", add {options or "no option"}')


def path_of(config: str) -> str:
    """The file of a config: in a clone, the path that its user sees."""
    path = models()[config]['Config']
    return path if Path(path).is_file() else str(config_path(config))


def main() -> None:
    parser, args = parse_args()
    try:
        convert(args)
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f'{parser.prog}: {error}')


if __name__ == '__main__':
    main()
