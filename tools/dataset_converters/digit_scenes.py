"""Write scenes of real handwritten digits for detection and segmentation.

The digits come with scikit-learn, nothing is downloaded. Images and annotations have the layouts
of COCO and ADE20K.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
from pycocotools import mask as rle
from rich.table import Table

from mmspike.apis.terminal import progress_bar, tool_console
from mmspike.datasets.digit_scenes import CLASSES, SUBSETS, write_digit_scenes
from mmspike.files import atomic_write
from mmspike.visualization.scene_plots import (
    Objects,
    class_colours,
    class_handles,
    draw_objects,
)

ROWS, COLUMNS = 4, 4

console = tool_console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='data/digit_scenes', help='folder to write to')
    parser.add_argument('--num-train', type=int, default=800, help='scenes for training')
    parser.add_argument('--num-val', type=int, default=200, help='scenes for validation')
    parser.add_argument('--size', type=int, default=128, help='height and width in pixels')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same scenes')
    parser.add_argument('--preview', metavar='FILE.png', help='also draw some validation scenes')
    return parser.parse_args()


def write(args: argparse.Namespace) -> bool:
    """Write the scenes with a progress bar; return False if they exist."""
    with progress_bar(console) as progress:
        task = progress.add_task('scenes', total=args.num_train + args.num_val)
        return write_digit_scenes(
            args.out,
            num_train=args.num_train,
            num_val=args.num_val,
            size=args.size,
            seed=args.seed,
            on_scene=lambda: progress.advance(task),
        )


def read_annotations(out: Path, subset: str) -> dict:
    return json.loads((out / 'annotations' / f'instances_{subset}.json').read_text())


def summary(out: Path) -> Table:
    """Images and objects per class, a column per subset."""
    table = Table(title=str(out), title_justify='left')
    table.add_column('')
    columns = []
    for subset in SUBSETS:
        table.add_column(subset, justify='right')
        content = read_annotations(out, subset)
        labels = [annotation['category_id'] - 1 for annotation in content['annotations']]
        objects = np.bincount(labels, minlength=len(CLASSES))
        columns.append([len(content['images']), objects.sum(), *objects])
    names = ['images', 'objects', *(f'  digit {name}' for name in CLASSES)]
    for i, (name, *cells) in enumerate(zip(names, *columns, strict=True)):
        table.add_row(name, *(f'{cell:,}' for cell in cells), end_section=i == 1)
    return table


def draw_preview(out: Path, file: Path) -> None:
    """The first validation scenes, with their annotations in grey below."""
    content = read_annotations(out, 'validation')
    figure, axes = plt.subplots(
        ROWS, COLUMNS, figsize=(2.2 * COLUMNS, 2.2 * ROWS + 0.4), layout='constrained'
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    colours = class_colours(len(CLASSES))
    for one in axes.flat:
        one.axis('off')
    # Pairs of rows: scenes above, annotations below.
    pairs = zip(axes[::2].flat, axes[1::2].flat, strict=True)
    for (scene, annotated), image in zip(pairs, content['images'], strict=False):
        pixels = cv2.imread(str(out / 'images' / 'validation' / image['file_name']))[..., ::-1]
        annotations = [a for a in content['annotations'] if a['image_id'] == image['id']]
        scene.imshow(pixels)
        draw_objects(annotated, pixels, objects_of(annotations), colours, CLASSES)
    figure.legend(
        handles=class_handles(colours, CLASSES), loc='outside lower center', ncols=len(CLASSES),
        frameon=False, fontsize=11, handletextpad=0.1, columnspacing=1.2,
    )  # fmt: skip
    with atomic_write(file) as target:
        figure.savefig(target, format='png', dpi=120)
    plt.close(figure)


def objects_of(annotations: list[dict]) -> Objects:
    """COCO's annotations of one image as arrays."""
    corners = [(x, y, x + width, y + height) for x, y, width, height in
               (one['bbox'] for one in annotations)]  # fmt: skip
    return Objects(
        boxes=np.array(corners),
        labels=np.array([one['category_id'] - 1 for one in annotations]),
        masks=np.array([rle.decode(one['segmentation']) for one in annotations], dtype=bool),
    )


def main() -> None:
    args = parse_args()
    try:
        written = write(args)
    except (OSError, ValueError) as error:
        sys.exit(f'digit_scenes.py: {error}')
    except KeyboardInterrupt:
        console.print('stopped; run the same command again to finish')
        sys.exit(130)
    out = Path(args.out)
    console.print(summary(out))
    if not written:
        console.print('they were there already', style='dim')
    if args.preview:
        draw_preview(out, Path(args.preview))
        console.print(f'drawn in {args.preview}', soft_wrap=True)


if __name__ == '__main__':
    main()
