"""The shape of the images or frames that the model of a config takes."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmspike.temporal import get_timesteps

# What transforms of the hosts call the size that their output has; the last one counts.
_SIZES = ('crop_size', 'scale', 'size', 'img_scale')
DENSE_SIZE = (256, 320)  # where height and width stay free, small ones are exported as well


def sample_images(cfg: Config, model: nn.Module, size: Sequence[int] | None = None) -> Tensor:
    """A batch of two, ``(2, C, H, W)`` or, of events, ``(2, T, C, H, W)``, of random numbers.

    Args:
        cfg: Config of mmpretrain, mmdet or mmseg.
        model: Its model.
        size: Height and width; None takes those of the test pipeline, and small ones for detectors
            and segmentors.

    Raises:
        ValueError: The size is no pair of positive numbers, or none was given and the pipeline does
            not say one.
    """
    if size is None:
        size = _size_of(cfg)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f'size must be height and width, got {tuple(size)}')
    frames = 'Event' in str(cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor'))
    steps = [get_timesteps(model)] if frames else []
    return torch.rand(2, *steps, _channels(model), *size) - 0.5


def _channels(model: nn.Module) -> int:
    """Channels of the input: those of the first convolution of the backbone."""
    backbone: Any = model.backbone
    first = next(m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    return getattr(backbone, 'in_channels', first.in_channels)


def _size_of(cfg: Config) -> Sequence[int]:
    if cfg.default_scope != 'mmpretrain':
        return DENSE_SIZE
    found = list(_sizes(cfg.test_dataloader.dataset.get('pipeline') or []))
    if not found:
        raise ValueError(
            'the test pipeline of the config does not say the size of an image: give one '
            '(--size HEIGHT WIDTH)'
        )
    size = found[-1]
    return (size, size) if isinstance(size, int) else tuple(size)[::-1]


def _sizes(pipeline: Sequence[dict]) -> Iterator[Any]:
    for transform in pipeline:
        for name in _SIZES:
            value = transform.get(name)
            if isinstance(value, int) or (isinstance(value, Sequence) and len(value) == 2):
                yield value
