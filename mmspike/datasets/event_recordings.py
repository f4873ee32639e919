"""Recordings of event cameras as mmpretrain datasets.

None of them downloads anything: where the files are and how they are to lie is said when they are
not found, and in docs/events.md.
"""

import math
import os
import re
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from mmpretrain.datasets import BaseDataset

from mmspike.datasets.transforms.event_frames import LoadEvents
from mmspike.events import MalformedEventsError
from mmspike.events.readers import READERS
from mmspike.registry import DATASETS


class EventRecordings(BaseDataset):
    """Base class of all datasets of event files.

    A sample holds ``img_path`` (the event file), ``sensor_size`` (height and width in pixels) and
    ``gt_label``; the pipeline begins with ``mmspike.LoadEvents``.

    Args:
        data_root: Folder of the dataset.
        split: Which part of it.
        sensor_size: Height and width in pixels; None is what the dataset was recorded with.
        on_error: ``'raise'``: a malformed file is an error when it is loaded. ``'skip'``: all
            files are read once when the dataset is built, with the pipeline's ``LoadEvents``, and
            those that are malformed or cannot be opened are left out, which the log tells with
            their number.
        **kwargs: See ``mmpretrain.datasets.BaseDataset``.

    Raises:
        ValueError: ``split`` or ``on_error`` is not known, or no ``sensor_size`` is.
        FileNotFoundError: The files are not where they should be.
        MalformedEventsError: With ``'skip'``, all files are malformed.
    """

    SPLITS: tuple[str, ...] = ('train', 'test')
    SENSOR_SIZE: tuple[int, int] | None = None
    SOURCE = ''
    LAYOUT = ''

    def __init__(
        self,
        data_root: str | os.PathLike,
        split: str = 'train',
        sensor_size: tuple[int, int] | None = None,
        on_error: str = 'raise',
        **kwargs: Any,
    ) -> None:
        if split not in self.SPLITS:
            raise ValueError(f'split must be one of {", ".join(self.SPLITS)}, got {split!r}')
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        size = sensor_size or self.SENSOR_SIZE
        if size is None:
            raise ValueError('sensor_size=(height, width) of the camera must be given')
        self.split = split
        self.sensor_size = tuple(size)
        self.on_error = on_error
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    @abstractmethod
    def recordings(self) -> Iterator[dict]:
        """The samples of the split: ``img_path``, ``gt_label``, and ``window`` of a part."""

    def load_data_list(self) -> list[dict]:
        """List the recordings, without the malformed ones if they are to be skipped."""
        found = [dict(one, sensor_size=self.sensor_size) for one in self.recordings()]
        if not found:
            raise self.not_found(self.data_root)
        return found if self.on_error == 'raise' else self._readable(found)

    def not_found(self, missing: str | os.PathLike) -> FileNotFoundError:
        """The error that explains the expected layout and the source of the files."""
        where = f' The files are at {self.SOURCE}.' if self.SOURCE else ''
        return FileNotFoundError(
            f'{type(self).__name__} finds no event files of its split {self.split!r} in {missing}. '
            f'It expects in data_root={self.data_root}: {self.LAYOUT}.{where} See docs/events.md'
        )

    def _readable(self, found: list[dict]) -> list[dict]:
        stages = self.pipeline.transforms
        # What it sorts is not malformed.
        load = next((one for one in stages if isinstance(one, LoadEvents)), LoadEvents())
        readable, errors = [], []
        for one in found:
            try:
                load(dict(one))
                readable.append(one)
            except (MalformedEventsError, OSError) as error:
                errors.append(str(error))
        shown = '\n  '.join(errors[:5]) + ('\n  ...' if len(errors) > 5 else '')
        logger = MMLogger.get_current_instance()
        text = f'{type(self).__name__}: {len(errors)} of {len(found)} recordings are malformed'
        if not readable:
            raise MalformedEventsError(f'{text}, none is left:\n  {shown}')
        if errors:
            logger.warning(f'{text} and left out:\n  {shown}')
        else:
            logger.info(text)
        return readable


def _lines(path: Path) -> list[str]:
    """Lines of a list of files or of times."""
    try:
        return path.read_text('utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is damaged: at byte {error.start} it is no text') from error


@DATASETS.register_module()
class EventFolders(EventRecordings):
    """A folder of event files per class: your own data.

    Args:
        train_ratio: The first files of every class, so many of all, are for training, the others
            for the test (their number is rounded up, names are in alphabetical order, as
            ``split_to_train_test_set`` of spikingjelly has it). None: ``data_root`` has a folder
            of classes for each split; a class may be missing in one of them.
        **kwargs: See :class:`EventRecordings`; ``sensor_size`` must be given.
    """

    LAYOUT = (
        '<class>/<name>.<suffix>, or with train_ratio=None {train,test}/<class>/<name>.<suffix>'
    )

    def __init__(self, *args: Any, train_ratio: float | None = 0.9, **kwargs: Any) -> None:
        if train_ratio is not None and not 0 < train_ratio < 1:
            raise ValueError(f'train_ratio must lie between 0 and 1, got {train_ratio!r}')
        self.train_ratio = train_ratio
        super().__init__(*args, **kwargs)

    def folder(self, split: str) -> Path:
        """The folder that holds the folders of the classes of a split."""
        root = Path(self.data_root)
        return root / split if self.train_ratio is None else root

    def recordings(self) -> Iterator[dict]:
        """Files of each class; folders of classes are all there are, unless they are known."""
        folder = self.folder(self.split)
        if not folder.is_dir():
            raise self.not_found(folder)
        known = self.metainfo.get('classes') is not None
        if not known:
            # Of all splits: a label means the same class in each, whatever one of them lacks.
            folders = filter(Path.is_dir, map(self.folder, self.SPLITS))
            names = {one.name for each in folders for one in each.iterdir() if one.is_dir()}
            self._metainfo['classes'] = tuple(sorted(names))
        for label, name in enumerate(self.metainfo['classes']):
            if not known and not (folder / name).is_dir():
                continue
            files = self._files(folder / name)
            if self.train_ratio is not None:
                border = math.ceil(len(files) * self.train_ratio)
                files = files[:border] if self.split == 'train' else files[border:]
            for file in files:
                yield dict(img_path=str(file), gt_label=label)

    def _files(self, folder: Path) -> list[Path]:
        """Event files in alphabetical order; of one suffix, should some have been converted."""
        if not folder.is_dir():
            raise self.not_found(folder)
        files = sorted(one for one in folder.iterdir() if one.suffix in READERS)
        if not files:
            raise self.not_found(folder)
        suffixes = sorted({one.suffix for one in files})
        if len(suffixes) > 1:
            raise ValueError(
                f'{folder} holds files of several formats ({", ".join(suffixes)}), which would be '
                'counted twice if they are the same recordings; keep one'
            )
        return files


@DATASETS.register_module()
class CIFAR10DVS(EventFolders):
    """10,000 recordings of CIFAR-10 images that move before a DVS128; 1000 per class.

    The split is that of SDT and most others: the first 90 % of each class, in alphabetical order.
    Li et al., "CIFAR10-DVS: An Event-Stream Dataset for Object Classification", Frontiers in
    Neuroscience 11:309, 2017.

    Args:
        **kwargs: See :class:`EventFolders`.
    """

    SENSOR_SIZE = (128, 128)
    SOURCE = 'https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671'
    LAYOUT = '<class>/cifar10_<class>_<number>.aedat, the ten archives unpacked'
    METAINFO = {
        'classes': (
            'airplane', 'automobile', 'bird', 'cat', 'deer',
            'dog', 'frog', 'horse', 'ship', 'truck',
        )
    }  # fmt: skip


@DATASETS.register_module()
class NCaltech101(EventFolders):
    """8,709 recordings of Caltech101 images in 101 classes, made by saccades of an ATIS.

    There is no official split; this is the first 90 % of each class, in alphabetical order. Orchard
    et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades",
    Frontiers in Neuroscience 9:437, 2015.

    Args:
        **kwargs: See :class:`EventFolders`.
    """

    SENSOR_SIZE = (180, 240)
    SOURCE = 'https://www.garrickorchard.com/datasets/n-caltech101'
    LAYOUT = '<class>/image_<number>.bin, the folder Caltech101 of Caltech101.zip'


@DATASETS.register_module()
class NCars(EventFolders):
    """24,029 recordings of 100 ms, cars and background, of an ATIS in a car.

    Recordings are cut-outs of different sizes; 120x100 pixels hold all of them. Sironi et al.,
    "HATS: Histograms of Averaged Time Surfaces for Robust Event-based Object Classification",
    CVPR 2018.

    Args:
        **kwargs: See :class:`EventRecordings`.
    """

    SENSOR_SIZE = (100, 120)
    SOURCE = 'https://www.prophesee.ai/2018/03/13/dataset-n-cars/'
    LAYOUT = 'n-cars_{train,test}/{background,cars}/obj_<number>_td.dat'
    METAINFO = {'classes': ('background', 'cars')}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, train_ratio=None, **kwargs)

    def folder(self, split: str) -> Path:
        """The folder that holds the folders of the classes of a split."""
        return Path(self.data_root, f'n-cars_{split}')


@DATASETS.register_module()
class HARDVS(EventRecordings):
    """107,646 recordings of 300 human actions with a DAVIS346.

    Wang et al., "HARDVS: Revisiting Human Activity Recognition with Dynamic Vision Sensors", AAAI
    2024 (arXiv 2211.09648). Labels are the numbers of the actions, less one.

    Args:
        **kwargs: See :class:`EventRecordings`; ``split`` may also be ``'val'``.
    """

    SPLITS = ('train', 'val', 'test')
    SENSOR_SIZE = (260, 346)
    SOURCE = 'https://github.com/Event-AHU/HARDVS'
    LAYOUT = (
        '{train,val,test}_label.txt and action_<001 to 300>/<name>.npz (MINI_HARDVS_files) or '
        '.aedat4'
    )
    METAINFO = {'classes': tuple(f'action_{i:03d}' for i in range(1, 301))}

    def recordings(self) -> Iterator[dict]:
        """The lines of the split's list: ``action_<number>/<name>`` and more."""
        listing = Path(self.data_root, f'{self.split}_label.txt')
        if not listing.is_file():
            raise self.not_found(listing)
        for number, line in enumerate(_lines(listing), start=1):
            if not line.strip():
                continue
            name = line.split()[0]
            match = re.fullmatch(r'action_(\d{3})/[^/]+', name)
            if not match or not 1 <= int(match[1]) <= 300:
                raise ValueError(
                    f'{listing}: line {number} should begin with action_<001 to 300>/<name>, but '
                    f'is {line!r}'
                )
            yield dict(img_path=str(self._file(name)), gt_label=int(match[1]) - 1)

    def _file(self, name: str) -> Path:
        for suffix in ('.npz', '.aedat4'):
            if (file := Path(self.data_root, name + suffix)).is_file():
                return file
        raise self.not_found(Path(self.data_root, f'{name}.npz'))


@DATASETS.register_module()
class DVS128Gesture(EventRecordings):
    """1,464 hand gestures of 11 classes, cut out of recordings of 29 people with a DVS128.

    A sample is a line of a recording's ``_labels.csv``; the split is by people, 1,176 and 288
    samples, as in spikingjelly. Amir et al., "A Low Power, Fully Event-Based Gesture Recognition
    System", CVPR 2017.

    Args:
        **kwargs: See :class:`EventRecordings`.
    """

    SENSOR_SIZE = (128, 128)
    SOURCE = 'https://research.ibm.com/interactive/dvsgesture/'
    LAYOUT = (
        'trials_to_{train,test}.txt, user<number>_<light>.aedat and '
        'user<number>_<light>_labels.csv, the folder DvsGesture of DvsGesture.tar.gz'
    )
    METAINFO = {
        'classes': (
            'hand clapping', 'right hand wave', 'left hand wave', 'right arm clockwise',
            'right arm counter clockwise', 'left arm clockwise', 'left arm counter clockwise',
            'arm roll', 'air drums', 'air guitar', 'other gestures',
        )
    }  # fmt: skip

    def recordings(self) -> Iterator[dict]:
        """Every gesture of every recording in the split's list."""
        root = Path(self.data_root)
        listing = root / f'trials_to_{self.split}.txt'
        if not listing.is_file():
            raise self.not_found(listing)
        for name in ' '.join(_lines(listing)).split():
            for file in (root / name, labels := root / f'{Path(name).stem}_labels.csv'):
                if not file.is_file():
                    raise self.not_found(file)
            for label, window in self._gestures(labels):
                yield dict(img_path=str(root / name), gt_label=label, window=window)

    def _gestures(self, path: Path) -> Iterator[tuple[int, tuple[int, int]]]:
        """Label, from 0, and the time from beginning to end in microseconds."""
        for number, line in enumerate(_lines(path), start=1):
            if number == 1 or not line.strip():
                continue
            try:
                label, start, end = (int(cell) for cell in line.split(','))
            except ValueError:
                label, start, end = 0, 0, 0
            if not 1 <= label <= len(self.METAINFO['classes']) or not 0 <= start < end:
                raise ValueError(
                    f'{path}: line {number} should be a class from 1 to 11, a beginning and a '
                    f'later end in microseconds, but is {line!r}'
                )
            yield label - 1, (start, end)
