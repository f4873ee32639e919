"""Show what a model predicts for an image, or for all in a folder, and where its neurons fire.

For each image it prints the prediction and the firing rate of every stage of the backbone, and
draws both in one picture. It takes configs of mmpretrain, mmdet and mmseg.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')

import cv2
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.structures import BaseDataElement, InstanceData
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmspike import get_timesteps
from mmspike.apis.arguments import add_cfg_options, add_device
from mmspike.apis.config import load_config
from mmspike.apis.inference import (
    InputRecorder,
    build_inferencer,
    check_device,
    quiet_hosts,
    read_image,
)
from mmspike.apis.large_images import detect_in_tiles
from mmspike.apis.terminal import progress_bar, tool_console
from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.neurons import NeuronMismatchError
from mmspike.recorders.firing_maps import FiringMap, FiringMapRecorder, spiking_stages
from mmspike.visualization.firing_map_plots import firing_map_figure
from mmspike.visualization.scene_plots import (
    Colour,
    Objects,
    class_colours,
    class_handles,
    draw_label_map,
    draw_objects,
)
from mmspike.visualization.terminal import bar

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
# mmpretrain writes into the image: a small one is enlarged, so that its text can be read.
SHORTER_SIDE = 384
# Longer side of what is drawn here, in inches, and dots per inch.
DRAWN, DOTS = 5.0, 150
MOST_IN_LEGEND = 18

console = tool_console()


class Classifier:
    """mmpretrain's inferencer: the five likeliest classes.

    What draws has a ``legend`` of the classes in the picture that was drawn last.
    """

    legend: Sequence[Artist] = ()

    def __init__(self, inferencer: Any) -> None:
        self.inferencer = inferencer

    def predict(self, path: str) -> BaseDataElement:
        return self.inferencer(path, return_datasamples=True)[0]

    def draw(self, image: np.ndarray, sample: BaseDataElement) -> np.ndarray:
        image = np.ascontiguousarray(_enlarged(image))
        with tempfile.TemporaryDirectory() as folder:  # without one the inferencer draws nothing
            return self.inferencer.visualize([image], [sample], show_dir=folder)[0]

    def table(self, sample: BaseDataElement) -> Table:
        table = _table('prediction', 'class', 'score')
        scores, labels = sample.pred_score.topk(min(5, len(sample.pred_score)))
        for score, label in zip(scores.tolist(), labels.tolist(), strict=True):
            table.add_row(_name(self.inferencer.classes, label), f'{score:.1%}')
        return table


class Detector:
    """mmdet's inferencer: the boxes above a score."""

    def __init__(self, inferencer: Any, score_thr: float) -> None:
        self.inferencer = inferencer
        self.score_thr = score_thr
        self.legend: Sequence[Artist] = ()

    def predict(self, path: str) -> BaseDataElement:
        return self.inferencer(path, return_datasamples=True)['predictions'][0]

    def _kept(self, sample: BaseDataElement) -> InstanceData:
        return sample.pred_instances[sample.pred_instances.scores > self.score_thr]

    def draw(self, image: np.ndarray, sample: BaseDataElement) -> np.ndarray:
        kept = self._kept(sample)
        names, colours = _classes_of(self.inferencer, kept.labels)
        labels = kept.labels.numpy()
        objects = Objects(
            boxes=kept.bboxes.numpy(),
            labels=labels,
            masks=kept.masks.numpy() if 'masks' in kept else None,
            scores=kept.scores.numpy(),
        )
        self.legend = _legend(labels, names, colours)
        return _drawn(image, lambda axes: draw_objects(axes, image, objects, colours, names, 9))

    def table(self, sample: BaseDataElement) -> Table | str:
        kept = self._kept(sample)
        title = f'{len(kept)} of {len(sample.pred_instances)} boxes score above {self.score_thr:g}'
        if not len(kept):
            return title
        table = _table(title, 'class', 'score', 'left, top, right, bottom')
        classes = self.inferencer.model.dataset_meta['classes']
        for box, label, score in zip(kept.bboxes, kept.labels, kept.scores, strict=True):
            place = ', '.join(f'{side:.0f}' for side in box.tolist())
            table.add_row(_name(classes, int(label)), f'{float(score):.1%}', place)
        return table


class TiledDetector(Detector):
    """The same for large images: tile by tile, with one set of boxes."""

    def __init__(self, inferencer: Any, score_thr: float, size: int, overlap: int) -> None:
        super().__init__(inferencer, score_thr)
        self.size, self.overlap = size, overlap

    def predict(self, path: str) -> BaseDataElement:
        with progress_bar(console) as progress:
            task = progress.add_task('tiles', total=None)
            found = detect_in_tiles(
                lambda tiles: self.inferencer(
                    tiles, batch_size=len(tiles), return_datasamples=True
                )['predictions'],
                read_image(Path(path)),
                self.size,
                self.overlap,
                on_tiles=lambda done, total: progress.update(task, completed=done, total=total),
            )
        return BaseDataElement(pred_instances=found)


class Segmentor:
    """mmseg's inferencer: the share of each class in the pixels."""

    def __init__(self, inferencer: Any) -> None:
        self.inferencer = inferencer
        self.legend: Sequence[Artist] = ()

    def predict(self, path: str) -> BaseDataElement:
        return self.inferencer(path, return_datasamples=True)

    def draw(self, image: np.ndarray, sample: BaseDataElement) -> np.ndarray:
        labels = sample.pred_sem_seg.data[0].numpy()
        names, colours = _classes_of(self.inferencer, labels)
        ground = [i for i, name in enumerate(names) if name == 'background']
        self.legend = _legend(np.setdiff1d(labels, ground), names, colours)
        return _drawn(
            image, lambda axes: draw_label_map(axes, image, labels, colours, names, ground, 9)
        )

    def table(self, sample: BaseDataElement) -> Table:
        table = _table('prediction', 'class', 'share of the pixels')
        pixels = sample.pred_sem_seg.data.flatten().bincount()
        classes = self.inferencer.model.dataset_meta['classes']
        for label in pixels.argsort(descending=True).tolist():
            if pixels[label]:
                share = float(pixels[label] / pixels.sum())
                table.add_row(_name(classes, label), f'{share:.1%}')
        return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left')
    for i, column in enumerate(columns):
        table.add_column(column, justify='right' if i else 'left')
    return table


def _name(classes: Sequence[str] | None, label: int) -> Text:
    return Text(classes[label] if classes and label < len(classes) else f'class {label}')


def _enlarged(image: np.ndarray) -> np.ndarray:
    """``(H, W, 3)``, with the shorter side of at least :data:`SHORTER_SIDE`."""
    factor = -(-SHORTER_SIDE // min(image.shape[:2]))
    size = image.shape[1] * factor, image.shape[0] * factor
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)


def _classes_of(inferencer: Any, labels: Any) -> tuple[list[str], list[Colour]]:
    """Names and colours of the classes; numbers, if the model has no names."""
    meta = inferencer.model.dataset_meta
    number = max(len(meta.get('classes') or ()), int(max(np.asarray(labels).flat, default=0)) + 1)
    names = [str(_name(meta.get('classes'), i)) for i in range(number)]
    palette = meta.get('palette')
    if palette is not None and len(palette) != number:
        palette = None
    return names, class_colours(number, palette)


def _legend(
    labels: np.ndarray, names: Sequence[str], colours: Sequence[Colour]
) -> Sequence[Artist]:
    """Entries of the classes in the picture; the first ones of many."""
    shown = np.unique(labels).tolist()[:MOST_IN_LEGEND]
    return class_handles([colours[i] for i in shown], [names[i] for i in shown])


def _drawn(image: np.ndarray, draw: Callable[[Axes], None]) -> np.ndarray:
    """A drawing in axes with the proportions of ``image``, as ``(H, W, 3)``, uint8."""
    height, width = image.shape[:2]
    scale = DRAWN / max(height, width)
    figure = Figure(figsize=(width * scale, height * scale), dpi=DOTS)
    axes = figure.add_axes((0, 0, 1, 1), xticks=[], yticks=[], frameon=False)
    draw(axes)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', type=Path, help='image file, or a folder of images')
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', type=Path, help='output folder; default work_dirs/image_demo/<config name>'
    )
    add_device(parser)
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='leave out boxes of a lower score'
    )
    parser.add_argument(
        '--tile', type=int, metavar='PIXELS',
        help='detect in tiles of this size, and join their boxes (no masks): for large images',
    )  # fmt: skip
    parser.add_argument('--overlap', type=int, default=64, help='of tiles, in pixels; default 64')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.tile is not None and not 0 <= args.overlap < args.tile:
        parser.error(f'--overlap must be from 0 to below --tile {args.tile}')
    if args.out is None:
        args.out = Path('work_dirs', 'image_demo', Path(args.config).stem)
    return args


def find_images(path: Path) -> list[Path]:
    """The image, or the images of a folder by name."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f'there is no image or folder {path}')
    images = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not images:
        raise FileNotFoundError(f'no image is in {path}; known are {", ".join(SUFFIXES)}')
    return images


def picture_paths(images: Sequence[Path], out: Path) -> list[Path]:
    """A file in ``out`` for each image; two that differ in their suffix only keep it."""
    if out.resolve() in {image.resolve().parent for image in images}:
        raise ValueError(f'--out {out} is where the images are; name another folder')
    same = Counter(image.stem for image in images)
    return [out / f'{image.stem if same[image.stem] == 1 else image.name}.png' for image in images]


def build(cfg: Config, args: argparse.Namespace) -> Classifier | Detector | Segmentor:
    """The inferencer for the config's ``default_scope``."""
    inferencer = build_inferencer(cfg, args.config, args.checkpoint, args.device)
    if args.tile and cfg.default_scope != 'mmdet':
        raise ValueError('--tile is for detectors, whose boxes can be joined')
    if args.tile:
        return TiledDetector(inferencer, args.score_thr, args.tile, args.overlap)
    if cfg.default_scope == 'mmdet':
        return Detector(inferencer, args.score_thr)
    return Classifier(inferencer) if cfg.default_scope == 'mmpretrain' else Segmentor(inferencer)


def stage_table(maps: Sequence[FiringMap], timesteps: int) -> Table:
    table = _table(
        f'spikes per neuron and step, T={timesteps}', 'stage', 'stride', 'map', 'rate', 'largest'
    )
    table.add_column('of the highest rate')
    highest = max(one.mean for one in maps) or 1.0
    for one in maps:
        height, width = one.rates.shape[-2:]
        table.add_row(
            one.stage, str(one.stride), f'{height}x{width}', f'{one.mean:.3f}',
            f'{float(one.rates.max()):.3f}', Text(bar(one.mean / highest), style='cyan'),
        )  # fmt: skip
    return table


def show(predictor, path: Path, target: Path, out: Console) -> None:
    """Predict, print and draw one image.

    Raises:
        ValueError: The file is no image.
    """
    pixels = read_image(path)
    model = predictor.inferencer.model
    spiking = bool(spiking_stages(model))
    with ExitStack() as stack:
        recorder = stack.enter_context(FiringMapRecorder(model)) if spiking else None
        seen = stack.enter_context(InputRecorder(model))
        counter = stack.enter_context(EnergyCounter(model)) if spiking else None
        stack.enter_context(quiet_hosts())
        sample = predictor.predict(str(path)).cpu()
    maps = recorder.maps() if recorder else []
    if any(len(one.rates) > 1 for one in maps):
        out.print('the model looked at the image in pieces: no firing maps', style='yellow')
        maps = []

    with quiet_hosts():
        result = predictor.draw(np.ascontiguousarray(pixels[..., ::-1]), sample)
    figure = firing_map_figure(result, seen.image, maps, path.name, predictor.legend)
    with atomic_write(target) as file:
        figure.savefig(file, format='png', dpi=DOTS)

    out.print(Text(str(path), style='bold'), soft_wrap=True)
    out.print(predictor.table(sample))
    if counter and counter.samples:
        energy = EnergyReport(counter).totals.energy_mj * counter.samples
        pieces = f' in {counter.samples} pieces' if counter.samples > 1 else ''
        out.print(f'{energy:.4g} mJ by arithmetic{pieces}')
    if maps:
        out.print(stage_table(maps, get_timesteps(model.backbone)))
    out.print(Text(f'drawn in {target}'), soft_wrap=True)


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        images = find_images(args.image)
        targets = picture_paths(images, args.out)
        check_device(args.device)
        predictor = build(load_config(args.config, args.cfg_options), args)
    except (OSError, ValueError, NeuronMismatchError) as error:
        sys.exit(f'image_demo.py: {error}')
    if not spiking_stages(predictor.inferencer.model):
        console.print('the backbone has no spiking neurons: only the result is drawn')
    failures = []
    with progress_bar(console, disable=not args.image.is_dir()) as progress:
        task = progress.add_task('images', total=len(images))
        for image, target in zip(images, targets, strict=True):
            try:
                show(predictor, image, target, console)
            except ValueError as error:
                failures.append(str(error))
            progress.advance(task)
    if failures:
        sys.exit('\n'.join(f'image_demo.py: {failure}' for failure in failures))


if __name__ == '__main__':
    main()
