"""Labels and class counts that do not fit the model."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from mmengine.runner import Runner

from mmspike.hooks.file_name_hook import NamingCompose
from mmspike.modules import unwrapped
from mmspike.registry import HOOKS

# Number of label maps to look at for faults that no single map shows.
_LOOKED_AT = 100


@HOOKS.register_module()
class ClassCheckHook(Hook):
    """Check that data and model have the same classes; for mmpretrain and mmseg.

    Before training, validation and test: every ``num_classes`` of the model is the number of the
    data's classes, and validation has the classes of training. With every batch: labels lie within
    them, before a loss fails with an index error, or a metric leaves them out. Before segmentation
    is trained it warns of label maps that seem to be numbered in another way. A
    :class:`~mmspike.classifiers.DistilledClassifier` checks that its teacher knows the data.

    Raises:
        ValueError: They do not agree.
    """

    def __init__(self) -> None:
        self._trained: list | None = None

    def before_train(self, runner: Runner) -> None:
        """Compare the classes; look at some label maps."""
        dataset = runner.train_dataloader.dataset
        self._check_counts(runner, dataset)
        self._trained = _classes(dataset)
        for part in getattr(dataset, 'datasets', [dataset]):
            _check_numbering(part)
        check_data = getattr(unwrapped(runner.model), 'check_data', None)
        if callable(check_data):
            check_data(dataset)

    def before_val(self, runner: Runner) -> None:
        """Compare the classes, with those of training too."""
        dataset = runner.val_dataloader.dataset
        self._check_counts(runner, dataset)
        _check_same(self._trained, _classes(dataset))

    def before_test(self, runner: Runner) -> None:
        """Compare the classes."""
        self._check_counts(runner, runner.test_dataloader.dataset)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the labels."""
        self._check_labels(runner, data_batch)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the labels."""
        self._check_labels(runner, data_batch)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the labels."""
        self._check_labels(runner, data_batch)

    def _check_counts(self, runner: Runner, dataset: Any) -> None:
        classes = _classes(dataset)
        if classes is None:
            return
        for name, count in _counts(runner):
            if count != len(classes):
                raise ValueError(
                    f'model.{name}.num_classes is {count}, but {type(dataset).__name__} has '
                    f'{len(classes)} classes: {", ".join(map(str, classes[:12]))}'
                    f'{", ..." if len(classes) > 12 else ""}. Set both to the classes of your data'
                )

    def _check_labels(self, runner: Runner, batch: Any) -> None:
        counts = [count for _, count in _counts(runner)]
        if not counts:
            return
        largest = min(counts) - 1
        head = getattr(unwrapped(runner.model), 'decode_head', None)
        for sample in _samples(batch):
            if 'gt_sem_seg' in sample:
                labels, ignored = sample.gt_sem_seg.data, getattr(head, 'ignore_index', 255)
                labels = labels[labels != ignored]
            else:
                labels, ignored = sample.get('gt_label'), None
            if not isinstance(labels, torch.Tensor) or not labels.numel():
                continue
            wrong = [label for label in map(int, labels.aminmax()) if not 0 <= label <= largest]
            if wrong:
                raise ValueError(
                    f'{sample.get("img_path", "a sample")} has the label {wrong[-1]}; the model '
                    f'has num_classes={largest + 1}, so labels are 0 to {largest}'
                    + ('' if ignored is None else _advice(sample, ignored))
                )


def _check_numbering(dataset: Any) -> None:
    """Warn of label maps that seem to count their classes in another way than the config."""
    classes = _classes(dataset)
    if classes is None or not hasattr(dataset, 'reduce_zero_label'):
        return
    last, ignored = len(classes) - 1, dataset.ignore_index
    seen = _values(dataset)
    shifted = seen == {*range(last), ignored}
    if dataset.reduce_zero_label and last and shifted:
        advice = (
            f'none holds class {last} ({classes[last]!r}), all others are there. With '
            'reduce_zero_label=True the value 0 of a file is left out and 1 is class 0. If 0 is '
            'one of your classes, set it to False in the dataset and in LoadAnnotations'
        )
    elif seen and len(seen - {ignored}) <= 1 < len(classes):
        advice = (
            f'they hold only {sorted(seen)}, and {ignored} is ignored. A label map holds '
            'class numbers: 0 and 1 for two classes, not 0 and 255'
        )
    else:
        return
    print_log(f'the first label maps (up to {_LOOKED_AT}): {advice}', 'current', 30)


def _counts(runner: Runner) -> Iterator[tuple[str, int]]:
    """Names of the modules that have ``num_classes``, and how many."""
    for name, module in unwrapped(runner.model).named_modules():
        count = getattr(module, 'num_classes', None)
        # mmpretrain's preprocessor uses its number only to make labels of one number vectors; heads
        # for edges (STDC) have two classes whatever the data has.
        if isinstance(module, BaseDataPreprocessor) or hasattr(module, 'boundary_threshold'):
            continue
        # A segmentor repeats the number of its head.
        if name and isinstance(count, int) and count > 0:
            yield name, count


def _classes(dataset: Any) -> list | None:
    classes = getattr(dataset, 'metainfo', {}).get('classes')
    return None if classes is None else list(classes)


def _check_same(trained: list | None, other: list | None) -> None:
    if trained is not None and other is not None and trained != other:
        different = [name for name in [*trained, *other] if (name in trained) != (name in other)]
        raise ValueError(
            f'training has {len(trained)} classes, validation {len(other)}, and they differ'
            f'{f" in {different[:12]}" if different else " in their order"}: labels would have '
            'different meanings. Give both datasets metainfo=dict(classes=...)'
        )


def _samples(batch: Any) -> Iterator[Any]:
    """The data samples of a batch, also of one for test-time augmentation."""
    waiting = [batch.get('data_samples')] if isinstance(batch, dict) else [batch]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list | tuple):
            waiting.extend(part)
        elif part is not None and hasattr(part, 'get'):
            yield part


def _advice(sample: Any, ignored: int) -> str:
    if sample.get('reduce_zero_label'):
        return f' and {ignored} for none, after 1 was taken off (reduce_zero_label=True)'
    return (
        f' and {ignored} for none. If 0 stands for none in your files and classes begin at 1, set '
        'reduce_zero_label=True in the dataset and in LoadAnnotations'
    )


def _values(dataset: Any) -> set[int]:
    """The values in the first label maps, loaded by the pipeline without augmentation."""
    from mmseg.datasets.transforms import LoadAnnotations  # the dataset is of mmseg

    values: set[int] = set()
    for transform in dataset.pipeline.transforms:
        if isinstance(transform, LoadAnnotations):
            load = NamingCompose([transform])
            for index in range(min(len(dataset), _LOOKED_AT)):
                loaded = cast(dict, load(dataset.get_data_info(index)))
                values |= set(np.unique(loaded['gt_seg_map']).tolist())
    return values
