"""Small scenes of real handwritten digits, to detect, to segment and to label pixel by pixel.

The digits are those of :mod:`mmspike.datasets.digits`, enlarged, coloured and scattered
over soft dark backgrounds. :func:`write_digit_scenes` writes them as COCO and as ADE20K are
laid out, so that the hosts' own datasets, pipelines and metrics read them.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmspike.datasets.digits import digits_of_split
from mmspike.datasets.png_files import write_png
from mmspike.files import atomic_write

CLASSES = tuple('0123456789')
# Folder of a subset -> the split its digits are from; no digit is in both.
SUBSETS = {'training': 'train', 'validation': 'test'}
# Values of a label map; 0 would mean unlabelled.
BACKGROUND, FIRST_DIGIT = 1, 2
# Raise it when the same parameters give other scenes.
FORMAT = 1

_SUMMARY = 'scenes.json'
_SIDES = (24.0, 56.0)  # least and largest side of a digit, in pixels
_MAX_ANGLE = 15.0  # degrees
_MASK_THRESHOLD = 0.35  # of the digit's darkest ink
_EDGE = 0.2  # the range of ink, around the threshold, over which a digit fades in
_CONTRAST = 100.0  # least difference of luminance to the mean background, of 255
_PLACEMENTS = 20  # tried per digit
_MAX_OVERLAP = 0.1  # of a new digit's pixels that may cover others
_MIN_VISIBLE = 0.5  # of each digit's pixels that later ones leave
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Scene:
    """An image with the N digits in it, in the order in which they were placed.

    Attributes:
        image: ``(H, W, 3)``, uint8, RGB.
        masks: ``(N, H, W)``, bool, the visible pixels of each digit; they share none.
        labels: ``(N,)``, int64, 0 to 9.
        boxes: ``(N, 4)``, float32, ``(x1, y1, x2, y2)`` in pixels, tight around the mask: the
            last column and row of it are ``x2 - 1`` and ``y2 - 1``.
    """

    image: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray

    def label_map(self) -> np.ndarray:
        """Class of every pixel ``(H, W)``, uint8: 1 is background, 2 to 11 are the digits."""
        classes = np.full(self.image.shape[:2], BACKGROUND, dtype=np.uint8)
        for mask, label in zip(self.masks, self.labels, strict=True):
            classes[mask] = FIRST_DIGIT + label
        return classes


def compose_scene(
    rng: np.random.Generator,
    digits: np.ndarray,
    labels: np.ndarray,
    *,
    size: int = 128,
    max_digits: int = 5,
    sides: tuple[float, float] = _SIDES,
) -> Scene:
    """Scatter some of the digits over a background.

    A digit may cover a little of earlier ones; a digit for which no place is found is left out.

    Args:
        rng: All that is random comes from it.
        digits: Grey levels ``(M, 8, 8)``, 0 is paper; each is scaled to its own maximum.
        labels: Their classes ``(M,)``.
        size: Height and width of the scene in pixels.
        max_digits: The scene gets 1 to so many.
        sides: Least and largest side in pixels to which the 8x8 image of a digit is enlarged.

    Raises:
        ValueError: The largest digit would not fit.
    """
    if size < smallest_size(sides[1]):
        raise ValueError(
            f'digits of up to {sides[1]:g} pixels need scenes of at least '
            f'{smallest_size(sides[1])} pixels, got size={size}'
        )
    canvas = _background(rng, size)
    target = float((canvas @ _LUMINANCE).mean()) + _CONTRAST
    owner = np.full((size, size), -1)  # index of the digit that is seen at a pixel
    areas: list[int] = []
    placed: list[int] = []
    for _ in range(rng.integers(1, max_digits + 1)):
        which = int(rng.integers(len(digits)))
        ink = _enlarge(rng, digits[which], sides)
        colour = _bright_colour(rng, target)
        mask = ink > _MASK_THRESHOLD
        place = find_place(rng, mask, owner, areas)
        if place is None:
            continue
        owner[place][mask] = len(placed)
        _paint(canvas[place], ink, colour)
        areas.append(int(mask.sum()))
        placed.append(int(labels[which]))
    masks = owner == np.arange(len(placed))[:, None, None]
    return Scene(
        image=np.clip(np.round(canvas), 0, 255).astype(np.uint8),
        masks=masks,
        labels=np.array(placed, dtype=np.int64),
        boxes=np.array([_tight_box(mask) for mask in masks], dtype=np.float32).reshape(-1, 4),
    )


def smallest_size(side: float) -> int:
    """Side in pixels of the smallest scene that holds a digit of ``side`` pixels, turned."""
    angle = np.deg2rad(_MAX_ANGLE)
    return int(np.ceil(side * (np.cos(angle) + np.sin(angle)))) + 1


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A muted gradient with a little noise ``(size, size, 3)``, float32, 0 to 255."""
    base = _rgb(rng.uniform(), rng.uniform(0.25, 0.6), rng.uniform(0.15, 0.4))
    coarse = base * rng.uniform(0.5, 1.5, (3, 3, 1)) + rng.normal(0, 10, (3, 3, 3))
    smooth = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, rng.uniform(1, 5), (size, size, 1))
    return np.clip(smooth + grain, 0, 255).astype(np.float32)


def _bright_colour(rng: np.random.Generator, luminance: float) -> np.ndarray:
    """A colour ``(3,)``, 0 to 255, of at least that luminance."""
    colour = _rgb(rng.uniform(), rng.uniform(0.2, 0.9), rng.uniform(0.85, 1.0))
    own = float(colour @ _LUMINANCE)
    # Dark hues, blue above all, are mixed with as much white as it takes.
    white = max(0.0, (luminance - own) / (255 - own))
    return colour + white * (255 - colour)


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """``(3,)``, float32, 0 to 255, from three numbers of 0 to 1."""
    hsv = np.array([[[hue * 360, saturation, value]]], dtype=np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255


def _enlarge(rng: np.random.Generator, digit: np.ndarray, sides: tuple[float, float]) -> np.ndarray:
    """The digit enlarged and turned at random, cut to where it shows; float32, 0 to about 1."""
    scale = rng.uniform(*sides) / 8
    turn: np.ndarray = cv2.getRotationMatrix2D(
        (3.5, 3.5), rng.uniform(-_MAX_ANGLE, _MAX_ANGLE), scale
    )
    extent = smallest_size(8 * scale)
    turn[:, 2] += (extent - 1) / 2 - 3.5
    ink: np.ndarray = digit.astype(np.float32) / max(float(digit.max()), 1e-6)
    ink = cv2.warpAffine(ink, turn, (extent, extent), flags=cv2.INTER_CUBIC)
    rows, columns = _span(ink > _MASK_THRESHOLD - _EDGE / 2)
    return ink[rows, columns]


def find_place(
    rng: np.random.Generator, mask: np.ndarray, owner: np.ndarray, areas: list[int]
) -> tuple[slice, slice] | None:
    """Draw where a digit hides little of those before it.

    Args:
        rng: Where the places that are tried come from.
        mask: Where the digit is ``(h, w)``.
        owner: Number of the digit that is seen at each pixel ``(H, W)``, -1 for none.
        areas: Pixels of each digit when it was placed, which others may have covered since.

    Returns:
        Rows and columns of ``owner``; None if no place was found.
    """
    height, width = mask.shape
    if not mask.any():
        return None
    before = np.bincount(owner.ravel() + 1, minlength=len(areas) + 1)[1:]
    for _ in range(_PLACEMENTS):
        top = int(rng.integers(owner.shape[0] - height + 1))
        left = int(rng.integers(owner.shape[1] - width + 1))
        place = slice(top, top + height), slice(left, left + width)
        hidden = np.bincount(owner[place][mask] + 1, minlength=len(areas) + 1)[1:]
        if (
            hidden.sum() <= _MAX_OVERLAP * mask.sum()
            and (before - hidden >= _MIN_VISIBLE * np.array(areas)).all()
        ):
            return place
    return None


def _paint(window: np.ndarray, ink: np.ndarray, colour: np.ndarray) -> None:
    """Blend the digit into ``window`` ``(h, w, 3)``; weaker strokes are a little darker."""
    opacity = np.clip((ink - _MASK_THRESHOLD) / _EDGE + 0.5, 0, 1)[..., None]
    shaded = colour * (0.75 + 0.25 * np.clip(ink, 0, 1)[..., None])
    window += opacity * (shaded - window)


def _span(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that ``mask`` touches."""
    spans = []
    for axis in (1, 0):
        (touched,) = np.nonzero(mask.any(axis=axis))
        spans.append(slice(touched[0], touched[-1] + 1) if len(touched) else slice(0, 0))
    return spans[0], spans[1]


def _tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = _span(mask)
    return columns.start, rows.start, columns.stop, rows.stop


def write_digit_scenes(
    folder: str | os.PathLike,
    *,
    num_train: int = 800,
    num_val: int = 200,
    size: int = 128,
    seed: int = 0,
    on_scene: Callable[[], None] | None = None,
) -> bool:
    """Write scenes for training and validation, unless they are there already.

    The images are in ``images/{training,validation}``. ``annotations`` holds for COCO
    ``instances_{training,validation}.json``, for ADE20K ``{training,validation}``, the label maps
    of :meth:`Scene.label_map`. Asked for more scenes, it begins with the same ones. After an
    interruption, call it again.

    Args:
        folder: Where to write.
        num_train: Number of scenes for training, of 1437 digits.
        num_val: Number of scenes for validation, of 360 other digits.
        size: Height and width of the scenes in pixels.
        seed: The same seed gives the same scenes.
        on_scene: Called after each scene.

    Returns:
        Whether it wrote anything.

    Raises:
        ValueError: ``folder`` holds other scenes or other files, or a parameter makes no sense.
    """
    folder = Path(folder)
    counts = {'training': num_train, 'validation': num_val}
    asked = dict(format=FORMAT, size=size, seed=seed, num_train=num_train, num_val=num_val)
    _check(asked)
    if _already_there(folder, asked):
        return False
    names = {subset: [f'digits_{i:06d}' for i in range(n)] for subset, n in counts.items()}
    _check_nothing_else_is_there(folder, names)
    for number, subset in enumerate(SUBSETS):
        digits, labels = digits_of_split(SUBSETS[subset])
        coco = _empty_coco()
        for i, name in enumerate(names[subset]):
            # A generator per scene: no scene depends on how many there are.
            rng = np.random.default_rng([seed, number, i])
            scene = compose_scene(rng, digits, labels, size=size)
            write_png(folder / 'images' / subset / f'{name}.png', scene.image[..., ::-1])
            write_png(folder / 'annotations' / subset / f'{name}.png', scene.label_map())
            _add_to_coco(coco, scene, f'{name}.png')
            if on_scene:
                on_scene()
        _write_json(folder / 'annotations' / f'instances_{subset}.json', coco)
    _write_json(folder / _SUMMARY, asked)
    return True


def _check(asked: dict[str, int]) -> None:
    for name, least in dict(num_train=1, num_val=1, seed=0, size=smallest_size(_SIDES[1])).items():
        if asked[name] < least:
            raise ValueError(f'{name} must be at least {least}, got {asked[name]}')


def _already_there(folder: Path, asked: dict[str, int]) -> bool:
    summary = folder / _SUMMARY
    if not summary.exists():
        return False
    try:
        found = dict(json.loads(summary.read_text()))
    except (TypeError, ValueError):
        raise ValueError(
            f'{summary} is damaged or of something else. Name another folder, or delete {folder}'
        ) from None
    if found != asked:
        raise ValueError(
            f'{folder} holds scenes of {_in_words(found)}; asked for were {_in_words(asked)}. '
            'Name another folder, or delete this one'
        )
    return True


def _in_words(parameters: dict[str, int]) -> str:
    return ', '.join(f'{name}={value}' for name, value in parameters.items())


def _check_nothing_else_is_there(folder: Path, names: dict[str, list[str]]) -> None:
    """Refuse a folder with other files, because the hosts read every file in it."""
    for subset, stems in names.items():
        expected = {f'{stem}.png' for stem in stems}
        for parent in (folder / 'images' / subset, folder / 'annotations' / subset):
            files = parent.iterdir() if parent.is_dir() else ()
            others = sorted(f.name for f in files if f.name[0] != '.' and f.name not in expected)
            if others:
                raise ValueError(
                    f'{parent} holds {len(others)} files that are not of these scenes, for '
                    f'example {others[0]}, from an interrupted run with other parameters or from '
                    'elsewhere. Name another folder, or delete this one'
                )


def _empty_coco() -> dict[str, list]:
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)]
    return dict(images=[], annotations=[], categories=categories)


def _add_to_coco(coco: dict[str, list], scene: Scene, file_name: str) -> None:
    # Here, because composing scenes does not need it; it comes with mmdet.
    from pycocotools import mask as rle

    image_id = len(coco['images']) + 1
    height, width = scene.image.shape[:2]
    coco['images'].append(dict(id=image_id, file_name=file_name, width=width, height=height))
    for mask, label, box in zip(scene.masks, scene.labels, scene.boxes, strict=True):
        encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
        x1, y1, x2, y2 = (float(side) for side in box)
        coco['annotations'].append(
            dict(
                id=len(coco['annotations']) + 1,
                image_id=image_id,
                category_id=int(label) + 1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=int(mask.sum()),
                iscrowd=0,
                segmentation=dict(size=[height, width], counts=encoded['counts'].decode()),
            )
        )


def _write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(content).encode() + b'\n')
