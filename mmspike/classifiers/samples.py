"""What tells the samples of a data set apart, in every run and on every machine."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

# As many are looked at to tell one data set from another.
_SOME = 100


@dataclass(frozen=True)
class Samples:
    """The samples of a data set, in its order.

    Attributes:
        dataset: Name of the class of the data set; of several, joined by ``+``.
        number: How many there are.
        key: What tells them apart: ``'img_path'``, the path of the file below the root of the data,
            or ``'sample_idx'``, the place in a data set that holds its images in memory.
        paths: The paths; None for ``'sample_idx'``.
        labels: Their labels; None if they have none, or more than one each.
    """

    dataset: str
    number: int
    key: str
    paths: list[str] | None
    labels: list[int] | None


def samples_of(dataset: Any) -> Samples:
    """List the samples of a data set of mmpretrain, or of wrappers around some.

    Raises:
        ValueError: They cannot be told apart.
    """
    parts = list(leaf_datasets(dataset))
    infos = [_identity(part.get_data_info(i)) for part in parts for i in range(len(part))]
    paths = [PurePosixPath(path).parts for path, _ in infos if path]
    labels = [label for _, label in infos if label is not None]
    name = dataset_name(dataset)
    if paths and len(paths) < len(infos):
        raise ValueError(
            f'{len(paths)} of the {len(infos)} samples of {name} have an img_path: either all or '
            'none must come from files'
        )
    if not paths and len(parts) > 1:
        raise ValueError(
            f'{name} hold their images in memory, and each counts its samples from 0. Take one of '
            'them, or data sets of files'
        )
    return Samples(
        dataset=name,
        number=len(infos),
        key='img_path' if paths else 'sample_idx',
        paths=_below(_root(parts, paths), paths) if paths else None,
        labels=labels if len(labels) == len(infos) else None,
    )


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers: of a concatenation, a repetition, a fold."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in inner:
        if part is None:
            yield dataset
        else:
            yield from leaf_datasets(part)


def dataset_name(dataset: Any) -> str:
    """Name of the class of a data set; of several in wrappers, joined by ``+``."""
    return '+'.join(dict.fromkeys(type(part).__name__ for part in leaf_datasets(dataset)))


def some_paths(dataset: Any) -> list[str]:
    """Up to 100 paths of images of each data set inside wrappers, spread over it."""
    infos = (
        part.get_data_info(i)
        for part in leaf_datasets(dataset)
        for i in range(0, len(part), max(1, -(-len(part) // _SOME)))
    )
    return [info['img_path'] for info in infos if info.get('img_path')]


def _identity(info: dict) -> tuple[str | None, int | None]:
    """Path and label of a sample; None for what it has not, and for several labels."""
    label: Any = info.get('gt_label')
    single = isinstance(label, int) or getattr(label, 'shape', None) == ()
    return info.get('img_path'), int(label) if single else None


def _root(parts: Sequence[Any], paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folder of all data roots; where images are not in these, that of all images."""
    roots = [PurePosixPath(getattr(part, 'data_root', None) or '').parts for part in parts]
    root = _common(roots)
    if root and all(path[: len(root)] == root for path in paths):
        return root
    return _common([path[:-1] for path in paths])


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    low, high = min(paths), max(paths)
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    return low[:same]


def _below(root: tuple[str, ...], paths: list[tuple[str, ...]]) -> list[str]:
    below = ['/'.join(path[len(root) :]) for path in paths]
    path, number = Counter(below).most_common(1)[0]
    if number > 1:
        raise ValueError(f'{number} samples are of the same file {path}: logits need one of each')
    return below
