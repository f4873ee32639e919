"""Checks and inferencers of the tools for single images.

The hosts are imported when an inferencer is built: one of them is enough.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmspike.files import read_training_checkpoint
from mmspike.weights import check_weights


def check_device(name: str) -> None:
    """Check that torch can use the device of ``--device``.

    Raises:
        ValueError: It cannot.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # the latter is torch without CUDA
        raise ValueError(f'--device {name}: {str(error).splitlines()[0]}') from None


@contextmanager
def quiet_hosts() -> Iterator[None]:
    """Suppress the output and warnings of the hosts while they load and draw."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def read_image(path: Path) -> np.ndarray:
    """The pixels of a file, ``(H, W, 3)``, uint8, BGR.

    Raises:
        ValueError: The file is no image.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f'{path} cannot be read as an image')
    return pixels


def classes_of_config(cfg: Config, scope: str) -> dict:
    """Names and colours of the classes, from the dataset that the config tests on."""
    dataset = dict(cfg.test_dataloader.dataset, lazy_init=True)
    with DefaultScope.overwrite_default_scope(scope):  # its transforms have no prefix
        metainfo = import_module(f'{scope}.registry').DATASETS.build(dataset).metainfo
    return {key: metainfo[key] for key in ('classes', 'palette') if metainfo.get(key)}


def _classifier(cfg: Config, checkpoint: str | None, device: str) -> Any:
    from mmpretrain import ImageClassificationInferencer
    from mmpretrain.utils import progress

    progress.disable_progress_bar = True
    return ImageClassificationInferencer(cfg, checkpoint, device)


def _detector(cfg: Config, checkpoint: str | None, device: str) -> Any:
    from mmdet.apis import DetInferencer

    return DetInferencer(cfg, checkpoint, device, show_progress=False)


def _segmentor(cfg: Config, checkpoint: str | None, device: str) -> Any:
    from mmseg.apis import MMSegInferencer

    return MMSegInferencer(cfg, checkpoint, device=device, show_progress=False)


_BUILDERS: dict[str, Callable[[Config, str | None, str], Any]] = {
    'mmpretrain': _classifier,
    'mmdet': _detector,
    'mmseg': _segmentor,
}


def check_scope(cfg: Config, config: str) -> None:
    """Check that a config is of a host with inferencers.

    Raises:
        ValueError: It is not.
    """
    scope = cfg.get('default_scope')
    if scope not in _BUILDERS:
        has = 'has no default_scope' if scope is None else f'has default_scope={scope!r}'
        raise ValueError(f'{config} {has}; it must be one of {", ".join(_BUILDERS)}')


def inferencer_of(cfg: Config, checkpoint: str | None, device: str, classes: dict) -> Any:
    """The inferencer of the config's ``default_scope``, with what the host makes of a checkpoint.

    Args:
        cfg: Config of mmpretrain, mmdet or mmseg.
        checkpoint: File of the weights; None for none.
        device: Where the model is to run.
        classes: ``classes`` and ``palette``, where they are known better than from the checkpoint.
    """
    with quiet_hosts():
        inferencer = _BUILDERS[cfg.default_scope](cfg, checkpoint, device)
    if cfg.default_scope != 'mmpretrain':
        inferencer.model.dataset_meta.update(classes)
    elif classes.get('classes'):
        inferencer.classes = classes['classes']
    return inferencer


def show_progress(inferencer: Any, shown: bool) -> None:
    """Whether the next calls of a host's inferencer show a progress bar.

    mmpretrain has one switch for the process.
    """
    if hasattr(inferencer, 'show_progress'):
        inferencer.show_progress = shown
    else:
        bars: Any = import_module('mmpretrain.utils.progress')
        bars.disable_progress_bar = not shown


def build_inferencer(cfg: Config, config: str, checkpoint: str, device: str) -> Any:
    """The inferencer of the config's ``default_scope``, with the checkpoint loaded.

    Args:
        cfg: Config of mmpretrain, mmdet or mmseg.
        config: Its file, for messages.
        checkpoint: File of the weights.
        device: Where the model is to run.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no such checkpoint.
        ValueError: The scope is of another host, or the checkpoint cannot be read or does not fit.
        NeuronMismatchError: The checkpoint was made with other neurons.
    """
    check_scope(cfg, config)
    weights = read_training_checkpoint(checkpoint)
    # Weights that do not say their classes, such as published ones, are of COCO to mmdet and of
    # Cityscapes to mmseg. mmpretrain asks the config itself.
    named = cfg.default_scope == 'mmpretrain' or 'dataset_meta' in weights.get('meta', {})
    with quiet_hosts():
        classes = {} if named else classes_of_config(cfg, cfg.default_scope)
        inferencer = inferencer_of(cfg, checkpoint, device, classes)
    check_weights(inferencer.model, weights, checkpoint)
    return inferencer


class InputRecorder:
    """Stores the last input image of a model, after the pipeline.

    Attributes:
        image: ``(H, W, 3)``, uint8, RGB; None before the model ran.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.image: np.ndarray | None = None
        self._handle = model.get_submodule('data_preprocessor').register_forward_pre_hook(
            self._keep
        )

    def _keep(self, preprocessor: torch.nn.Module, inputs: tuple) -> None:
        # (C, H, W), still without padding and with the channels as OpenCV reads them.
        pixels = inputs[0]['inputs'][0].clamp(0, 255).byte().permute(1, 2, 0)
        self.image = pixels.flip(-1).cpu().numpy()

    def __enter__(self) -> 'InputRecorder':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._handle.remove()
