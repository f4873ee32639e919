"""Look at event recordings: a strip of frames (PNG), a GIF, and frames in the terminal.

SOURCE is an event file or a config of mmpretrain. Of a config, the tool shows the frames that the
model receives from the test data.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.text import Text

from mmspike.apis.arguments import add_cfg_options
from mmspike.apis.config import load_config
from mmspike.apis.terminal import tool_console
from mmspike.events import integrate_frames, read_events
from mmspike.files import atomic_write
from mmspike.visualization.event_plots import event_strip, print_event_frames, write_event_gif

console = tool_console(file_width=130)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='SOURCE', help='event file, or config (.py)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/events'), help='output folder')
    parser.add_argument('--fps', type=float, default=8.0, help='frames of the GIF per second')
    of_file = parser.add_argument_group('of an event file')
    of_file.add_argument(
        '--sensor-size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), default=(128, 128),
        help='of the camera, in pixels; default 128 128',
    )  # fmt: skip
    of_file.add_argument('--timesteps', type=int, default=8, help='number of frames')
    of_file.add_argument(
        '--by', choices=('number', 'time'), default='number',
        help='frames of as many events, or of as much time',
    )  # fmt: skip
    of_config = parser.add_argument_group('of a config')
    of_config.add_argument(
        '--indices', type=int, nargs='+', default=[0], metavar='I', help='which samples; default 0'
    )
    of_config.add_argument(
        '--split', choices=('train', 'val', 'test'), default='test',
        help='train shows the augmentation',
    )  # fmt: skip
    add_cfg_options(of_config)
    args = parser.parse_args()
    if not 0.1 <= args.fps <= 50:
        parser.error(f'--fps must lie between 0.1 and 50, got {args.fps:g}')
    if args.timesteps < 1:
        parser.error(f'--timesteps must be at least 1, got {args.timesteps}')
    return args


@dataclass(frozen=True)
class Sample:
    """Event frames ``(T, 2, H, W)`` and their name."""

    name: str
    frames: np.ndarray


def of_file(args: argparse.Namespace) -> list[Sample]:
    size = tuple(args.sensor_size)
    events = read_events(args.source, size)
    length = int(events.t[-1] - events.t[0])
    console.print(
        f'{args.source}: {len(events.t):,} events in {length / 1000:,.1f} ms, '
        f'{events.p.mean():.0%} ON, x {events.x.min()} to {events.x.max()}, '
        f'y {events.y.min()} to {events.y.max()}',
        soft_wrap=True,
    )
    return [Sample(Path(args.source).stem, integrate_frames(events, size, args.timesteps, args.by))]


def of_config(args: argparse.Namespace) -> list[Sample]:
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import DATASETS

    cfg = load_config(args.source, args.cfg_options)
    if f'{args.split}_dataloader' not in cfg:
        raise ValueError(f'{args.source} has no {args.split}_dataloader')
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg[f'{args.split}_dataloader'].dataset)
    classes = dataset.metainfo['classes']
    samples = []
    for index in args.indices:
        if not 0 <= index < len(dataset):
            raise ValueError(f'--indices: there are 0 to {len(dataset) - 1}, got {index}')
        item = dataset[index]
        frames = item['inputs'].numpy()
        frames = frames[None] if frames.ndim == 3 else frames
        label = classes[int(item['data_samples'].gt_label)]
        samples.append(Sample(f'{index}: {label}', frames))
    return samples


def main() -> None:
    args = parse_args()
    try:
        is_config = args.source.endswith('.py')
        samples = of_config(args) if is_config else of_file(args)
        figure = event_strip([one.frames for one in samples], [one.name for one in samples])
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f'visualize_events.py: {error}')
    for one in samples:
        console.print(Text(one.name))
        print_event_frames(console, one.frames)
    stem = Path(args.source).stem
    with atomic_write(args.out / f'{stem}_events.png') as file:
        figure.savefig(file, format='png', dpi=120)
    written = [args.out / f'{stem}_events.png']
    for one in samples:
        number = f'_{one.name.partition(":")[0]}' if is_config else ''
        written.append(args.out / f'{stem}{number}_events.gif')
        write_event_gif(written[-1], one.frames, args.fps)
    for path in written:
        console.print(Text(f'wrote {path}'), soft_wrap=True)


if __name__ == '__main__':
    main()
