"""Handwritten digits seen by an event camera: an mmpretrain dataset that needs no download."""

import os
from typing import Any

from mmpretrain.datasets import BaseDataset

from mmspike.datasets.recorded_digits import SPLITS, event_digits
from mmspike.events.camera import EventCamera
from mmspike.registry import DATASETS


@DATASETS.register_module()
class EventDigits(BaseDataset):
    """The 1797 real handwritten digits of scikit-learn before a simulated, moving event camera.

    A sample holds ``events`` (:class:`~mmspike.events.Events`), ``sensor_size``
    (height and width) and ``gt_label``. The first use simulates them, in about 6 s of one core,
    and keeps them in ``data_root``, about 50 MB. The splits are those of
    :class:`~mmspike.datasets.handwritten_digits.HandwrittenDigits`.

    Args:
        split: ``'train'`` (80 %, 1437 recordings) or ``'test'`` (20 %, 360 recordings).
        data_root: Folder in which the recordings are kept.
        camera: Arguments of :class:`~mmspike.events.camera.EventCamera` that differ from
            its defaults.
        **kwargs: See ``mmpretrain.datasets.BaseDataset``.

    Raises:
        ValueError: ``split`` is neither, or a number of the camera makes no sense.
        TypeError: ``camera`` has an argument that the camera does not know, or no number.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(
        self,
        split: str = 'train',
        data_root: str | os.PathLike = 'data/event_digits',
        camera: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split = split
        self.camera = EventCamera(**(camera or {}))
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the recordings, or simulate them."""
        recordings, labels = event_digits(self.split, self.data_root, self.camera)
        size = (self.camera.size, self.camera.size)
        return [
            dict(events=events, sensor_size=size, gt_label=int(label))
            for events, label in zip(recordings, labels, strict=True)
        ]
