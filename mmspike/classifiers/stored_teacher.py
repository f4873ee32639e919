"""A teacher whose answers were computed before the training."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmspike.classifiers.logits_folder import open_logits, read_header, read_samples
from mmspike.classifiers.samples import dataset_name, leaf_datasets, some_paths


class StoredTeacher:
    """Answers from a folder that ``tools/store_logits.py`` wrote.

    Args:
        folder: The folder.

    Attributes:
        model: None, it does not run.
        header: What the folder says of itself.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is damaged or not complete.
    """

    model = None

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.header = read_header(self.folder)
        paths, self._labels = read_samples(self.folder, self.header)
        self._logits = open_logits(self.folder, self.header)
        self._rows = None if paths is None else {path: row for row, path in enumerate(paths)}
        # Where the data lie in this run; the first path that is found tells.
        self._root: tuple[str, ...] | None = None

    def check_data(self, dataset: Any) -> None:
        """Check that the logits are those of a data set, as far as a short look tells.

        Raises:
            ValueError: They are those of another one.
        """
        number = sum(map(len, leaf_datasets(dataset)))
        classes = getattr(dataset, 'metainfo', {}).get('classes')
        if classes is not None and len(classes) != self.header.classes:
            raise self._error(f'the training data has {len(classes)} classes')
        if self._rows:
            paths = some_paths(dataset)
            if not paths:
                raise self._error('the training data are no files')
            for path in paths:
                self._row_of_path(path, self._rows)
        elif (dataset_name(dataset), number) != (self.header.dataset, self.header.samples):
            raise self._error(f'the training data are {number} samples of {dataset_name(dataset)}')

    def logits(self, inputs: Tensor, data_samples: list[DataSample]) -> Tensor:
        """Logits ``(B, classes)``, on the device of the inputs.

        Args:
            inputs: Images; only their device counts.
            data_samples: Samples that say which they are.

        Raises:
            ValueError: One does not say it, is not in the folder, or has another label there.
        """
        rows = [self._row(sample) for sample in data_samples]
        self._check_labels(rows, data_samples)
        return torch.from_numpy(np.array(self._logits[rows])).to(inputs.device)

    def _row(self, sample: DataSample) -> int:
        key = self.header.key
        value = sample.get(key)
        if value is None:
            raise ValueError(
                f'the samples have no {key}, which tells whose logits are whose. The training '
                f"pipeline has to keep it: dict(type='PackInputs', meta_keys=({key!r},))"
            )
        if self._rows:
            return self._row_of_path(value, self._rows)
        if not 0 <= value < self.header.samples:
            raise self._error(f'there is a sample {value} in training')
        return value

    def _row_of_path(self, path: str, rows: dict[str, int]) -> int:
        parts = PurePosixPath(path).parts
        depths = range(len(parts)) if self._root is None else [len(self._root)]
        for depth in depths:
            row = rows.get('/'.join(parts[depth:]))
            if row is not None and self._root in (None, parts[:depth]):
                self._root = parts[:depth]
                return row
        raise self._error(f'{path} is not among them; one of theirs is {next(iter(rows))}')

    def _check_labels(self, rows: list[int], data_samples: list[DataSample]) -> None:
        if self._labels is None or any('gt_label' not in sample for sample in data_samples):
            return
        given = torch.cat([sample.gt_label for sample in data_samples]).tolist()
        for row, label, sample in zip(rows, given, data_samples, strict=True):
            if label != self._labels[row]:
                name = sample.get(self.header.key)
                raise self._error(
                    f'sample {name} has the label {label}, and had {self._labels[row]} then'
                )

    def _error(self, difference: str) -> ValueError:
        header = self.header
        return ValueError(
            f'{self.folder} holds logits of {header.samples} samples of {header.dataset} with '
            f'{header.classes} classes, but {difference}. Is it the folder of other data, of '
            'another split or of other `indices`? tools/store_logits.py stores the logits of the '
            'training data of a config'
        )
