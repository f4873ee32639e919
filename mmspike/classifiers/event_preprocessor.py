"""mmpretrain's data preprocessor for event frames."""

from collections.abc import Sequence

from mmpretrain.models.utils import ClsDataPreprocessor
from torch import Tensor

from mmspike.events.frames import POLARITIES
from mmspike.registry import MODELS


@MODELS.register_module()
class EventDataPreprocessor(ClsDataPreprocessor):
    """Stacks event frames of samples ``(T, 2, H, W)`` to ``(B, T, 2, H, W)``.

    While mmpretrain's preprocessor works, time steps and polarities are one dimension, that of the
    channels. So padding and the batch augmentations that are made for images (Mixup, CutMix) do
    the same to all steps; given the five dimensions as they are, CutMix would cut polarities out,
    and padding would add some. Counts are not normalised here, ``mmspike.ScaleEventFrames`` does.

    Args:
        num_classes: Number of classes, for one-hot labels.
        batch_augments: See ``mmpretrain.models.RandomBatchAugment``; ``mmspike.EventMix`` is one
            made for events.
        pad_size_divisor: Height and width are padded with zeros to a multiple of it.

    Raises:
        ValueError: Samples are not of that shape, or differ in T (in ``forward``).
    """

    def __init__(
        self,
        num_classes: int | None = None,
        batch_augments: dict | None = None,
        pad_size_divisor: int = 1,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            batch_augments=batch_augments,
            pad_size_divisor=pad_size_divisor,
        )

    def forward(self, data: dict, training: bool = False) -> dict:
        """Stack, pad and, in training, augment a batch."""
        inputs: Sequence[Tensor] = data['inputs']
        shapes = sorted({tuple(one.shape) for one in inputs})
        frames = {shape[:2] for shape in shapes}
        if len(frames) > 1 or any(len(one) != 4 or one[1] != POLARITIES for one in shapes):
            raise ValueError(
                f'event frames of a batch must be (T, 2, H, W) with the same T, got {shapes}; '
                'mmspike.IntegrateEvents(timesteps=T) and mmspike.PackEventFrames make them'
            )
        folded = dict(data, inputs=[one.flatten(0, 1) for one in inputs])
        batch = super().forward(folded, training)
        batch['inputs'] = batch['inputs'].unflatten(1, frames.pop())
        return batch
