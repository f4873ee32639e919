"""Errors of data pipelines that name the file."""

from collections.abc import Iterator
from typing import Any

import cv2
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmspike.registry import HOOKS

# Where datasets say what a sample is read from: image or events, and labels.
_FILES = ('img_path', 'seg_map_path')


class UnreadableFileError(RuntimeError):
    """A file of a dataset cannot be read."""


@HOOKS.register_module()
class FileNameHook(Hook):
    """Add the names of the files to errors of data pipelines.

    The hosts' loaders name an image that cannot be decoded, but no empty image, and no label map.

    Raises:
        UnreadableFileError: When a file of a sample cannot be read.
    """

    def before_train(self, runner: Runner) -> None:
        """Watch the pipelines of the training data."""
        _watch(runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Watch the pipelines of the validation data."""
        _watch(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Watch the pipelines of the test data."""
        _watch(runner.test_dataloader.dataset)


class NamingCompose(Compose):
    """mmengine's pipeline, whose errors name the files of the sample."""

    def __call__(self, data: dict) -> dict | None:
        """Run all transforms on a sample."""
        files = ', '.join(str(data[key]) for key in _FILES if data.get(key))
        try:
            return super().__call__(data)
        except (OSError, AssertionError, cv2.error) as error:
            if not files:
                raise
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise UnreadableFileError(f'{files} cannot be read: {reason}') from error
        except Exception as error:
            error.add_note(f'The sample is of {files or data}')
            raise


def _watch(dataset: Any) -> None:
    for one in _datasets(dataset):
        if type(getattr(one, 'pipeline', None)) is Compose:
            one.pipeline = NamingCompose(one.pipeline.transforms)


def _datasets(dataset: Any) -> Iterator[Any]:
    """A dataset and those that it wraps."""
    yield dataset
    for inner in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())):
        if inner is not None:
            yield from _datasets(inner)
