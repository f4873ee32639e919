"""Record the handwritten digits of scikit-learn with a simulated event camera.

Training does this by itself. With this tool a user can try the camera and look at recordings.
Nothing is downloaded.
"""

import argparse
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from rich.table import Table

from mmspike.apis.terminal import tool_console
from mmspike.datasets.recorded_digits import SPLITS, cache_path, event_digits
from mmspike.events import Events, integrate_frames
from mmspike.events.camera import EventCamera
from mmspike.files import atomic_write
from mmspike.visualization.event_plots import event_strip

PREVIEWED = 4  # digits in the picture
PREVIEW_STEPS = 9  # three of each saccade

console = tool_console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('data/event_digits'), help='folder')
    parser.add_argument('--preview', metavar='FILE.png', type=Path, help='also draw some of them')
    camera = parser.add_argument_group('camera', 'what each means: docs/events.md')
    for field in fields(EventCamera):
        camera.add_argument(
            f'--{field.name.replace("_", "-")}', type=field.type, default=field.default,
            help=f'default {field.default}',
        )  # fmt: skip
    return parser.parse_args()


def summary(recordings: dict[str, list[Events]], camera: EventCamera) -> Table:
    """Numbers of recordings and events, a column per split."""
    table = Table(title='event digits', title_justify='left')
    table.add_column('')
    for split in recordings:
        table.add_column(split, justify='right')
    seconds, pixels = camera.duration * 1e-6, camera.size**2
    rows: dict[str, list[str]] = {}
    for found in recordings.values():
        numbers = np.array([len(one.t) for one in found])
        on = np.mean([one.p.mean() for one in found])
        cells = {
            'recordings': f'{len(found):,}',
            'length': f'{camera.duration / 1000:g} ms',
            'events per recording': f'{numbers.mean():,.0f}',
            '  fewest': f'{numbers.min():,}',
            '  most': f'{numbers.max():,}',
            'ON': f'{on:.1%}',
            'events per pixel and s': f'{numbers.mean() / pixels / seconds:.1f}',
        }
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def draw_preview(
    path: Path, recordings: list[Events], labels: np.ndarray, camera: EventCamera
) -> None:
    """The first recordings of different digits, three frames of each saccade."""
    size = (camera.size, camera.size)
    chosen = [int(np.flatnonzero(labels == digit)[0]) for digit in (2, 4, 7, 8)[:PREVIEWED]]
    rows = [integrate_frames(recordings[i], size, PREVIEW_STEPS, 'time') for i in chosen]
    each = camera.duration / PREVIEW_STEPS / 1000
    titles = [f'{t * each:.0f}-{(t + 1) * each:.0f} ms' for t in range(PREVIEW_STEPS)]
    names = [f'digit {labels[i]}' for i in chosen]
    figure = event_strip(rows, names, titles, columns=PREVIEW_STEPS)
    with atomic_write(path) as file:
        figure.savefig(file, format='png', dpi=100)


def main() -> None:
    args = parse_args()
    try:
        camera = EventCamera(**{f.name: getattr(args, f.name) for f in fields(EventCamera)})
        there = [cache_path(split, args.out, camera).is_file() for split in SPLITS]
        start = time.process_time()
        found = {split: event_digits(split, args.out, camera) for split in SPLITS}
        seconds = time.process_time() - start
    except (OSError, ValueError) as error:
        sys.exit(f'event_digits.py: {error}')
    console.print(summary({split: recordings for split, (recordings, _) in found.items()}, camera))
    if all(there):
        console.print('they were there already', style='dim')
    else:
        console.print(f'simulated in {seconds:.1f} s of processor time')
    usual = asdict(EventCamera())
    changed = [f'{name}={value}' for name, value in asdict(camera).items() if value != usual[name]]
    if changed:
        console.print(f'in a config: camera=dict({", ".join(changed)})', soft_wrap=True)
    for split in SPLITS:
        console.print(f'in {cache_path(split, args.out, camera)}', soft_wrap=True)
    if args.preview:
        draw_preview(args.preview, *found['test'], camera)
        console.print(f'drawn in {args.preview}', soft_wrap=True)


if __name__ == '__main__':
    main()
