"""Mixing two event recordings by a mask of arbitrary shape in space and time."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from mmpretrain.models.utils.batch_augments import Mixup
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mmspike.checks import check_integer, check_number
from mmspike.events.frames import POLARITIES
from mmspike.registry import BATCH_AUGMENTS

# Standard deviations are drawn up to the second share of the length of an axis; what is below the
# first becomes that.
SPREAD = (0.05, 0.5)


def mixture_masks(
    ratios: Tensor, size: tuple[int, int, int], num_gaussians: tuple[int, int]
) -> Tensor:
    """Draw masks that cut a block of space and time along a surface of a random mixture.

    How many Gaussians a mask has is drawn too. Each has its centre at a random cell, a random
    spread along each of time, height and width (:data:`SPREAD`), and at its centre a random weight
    between 0 and 1. The cells where their sum is lowest are True.

    Args:
        ratios: ``(B,)``, share of the cells that are True, from 0 to 1.
        size: Length T, H and W of the axes in cells.
        num_gaussians: Fewest and most Gaussians of a mask.

    Returns:
        ``(B, T, H, W)``, bool, on the device of ``ratios``. ``round(ratio * T*H*W)`` cells of a
        mask are True, whatever cells lie at the same level.
    """
    number, (fewest, most) = len(ratios), num_gaussians
    # Drawn on the CPU, so that one seed means the same masks on every device.
    many = torch.randint(fewest, most + 1, (number, 1))
    weights = torch.rand(number, most, dtype=torch.float64)
    weights = weights.masked_fill(torch.arange(most) >= many, 0).to(ratios.device)
    profiles = []
    for length in size:
        centre = torch.randint(length, (number, most, 1))
        low, high = SPREAD
        spread = (high * torch.rand(number, most, 1, dtype=torch.float64)).clamp(min=low) * length
        distance = (torch.arange(length) - centre) / spread
        profiles.append(torch.exp(distance.square() / -2).to(ratios.device))
    # float64: 20 spreads away a float32 would be 0, and so would be much of the block.
    level = torch.einsum('bk,bkt,bkh,bkw->bthw', weights, *profiles).flatten(1)

    cells = level.shape[1]
    wanted = (ratios.double() * cells).round()
    chosen = torch.arange(cells, device=level.device) < wanted.unsqueeze(1)
    # By rank and not by a threshold, which would take all cells of the same level or none.
    order = level.argsort(dim=1, stable=True)
    return torch.zeros_like(chosen).scatter_(1, order, chosen).unflatten(1, size)


def part_of_first(first: Tensor, second: Tensor, otherwise: Tensor) -> Tensor:
    """``first / (first + second)``, and ``otherwise`` where both are 0; all ``(B,)``."""
    total = first + second
    return torch.where(total > 0, first / total, otherwise)


def weights_by_events(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Weights of the first samples' labels, by the events that are left of each sample.

    A sample counts by the share of its own events that is left, so that a recording with many
    events gets no larger weight. The share of a sample without events is 0.

    Args:
        first, second: Frames ``(B, T, 2, H, W)``.
        mask: ``(B, T, 1, H, W)``, True where the mixed frames are those of ``first``.

    Returns:
        ``(B,)``, float32, from 0 to 1; where no event is left of either, the share of cells.
    """
    cells = mask.float().mean((1, 2, 3, 4))
    nothing = torch.zeros_like(cells)

    def left(frames: Tensor, where: Tensor) -> Tensor:
        counts = frames.float().abs()  # a bicubic Resize may overshoot to below 0
        kept, lost = ((counts * part).sum((1, 2, 3, 4)) for part in (where, ~where))
        return part_of_first(kept, lost, nothing)

    return part_of_first(left(first, mask), left(second, ~mask), cells)


def weights_by_distance(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Weights of the first samples' labels, by how near the mixed frames are to each sample.

    With ``d`` the mean squared difference from the mixed frames after an average over 3x3 pixels,
    which lets events of neighbouring pixels meet, the weight is ``d2**2 / (d1**2 + d2**2)``.

    Args:
        first, second: Frames ``(B, T, 2, H, W)``.
        mask: ``(B, T, 1, H, W)``, True where the mixed frames are those of ``first``.

    Returns:
        ``(B,)``, float32, from 0 to 1; where both distances are 0, the share of cells.
    """
    cells = mask.float().mean((1, 2, 3, 4))
    difference = first.float() - second.float()

    def distance(where: Tensor) -> Tensor:
        # An average is linear: average the difference, not each of the frames.
        changed = (difference * where).flatten(1, 2)
        return avg_pool2d(changed, 3, stride=1, padding=1).square().mean((1, 2, 3))

    from_first, from_second = distance(~mask), distance(mask)
    # Only the quotient matters; a square of the distances themselves could leave float32.
    near = part_of_first(from_second, from_first, cells)
    weights = part_of_first(near.square(), (1 - near).square(), cells)
    return torch.where(from_first + from_second > 0, weights, cells)


@BATCH_AUGMENTS.register_module()
class EventMix(Mixup):
    """EventMix: event frames of two samples on either side of a surface in space and time.

    For every sample of a batch a partner in the batch, a ratio from ``Beta(alpha, alpha)`` and a
    mask over time, height and width are drawn. The sample keeps that ratio of the cells, in both
    polarities; the others, where a random Gaussian mixture is highest, become the partner's.
    Labels are mixed by the shares that are left of the two samples. The given batch stays as it is.

    It takes what mmpretrain's batch augmentations take, frames whose time steps and polarities are
    one dimension: ``(B, T*2, H, W)``, OFF and ON of the first step, of the second, and so on, as
    :class:`~mmspike.classifiers.EventDataPreprocessor` folds them. Frames without
    time, ``(B, 2, H, W)``, are one step. Random numbers are those of NumPy (ratios) and of torch
    on the CPU (all else), so the seed of the run decides them.

    Source: Shen, Zhao, Zeng, *EventMix: An efficient data augmentation strategy for event-based
    learning*, Information Sciences 644, 2023, https://arxiv.org/abs/2205.12054. Shapes of the
    mixture and both rules for labels are those of the code that its authors published in BrainCog.
    It differs from that code in that partners come from the batch and not from the whole dataset,
    no noise is added to the mixed frames, and samples without events are allowed.

    Args:
        alpha: Of the Beta distribution of the ratio; 1 makes all ratios as likely.
        num_gaussians: Number of Gaussians of a mask, or the fewest and the most of them.
        label: ``'distance'``: the nearer the mixed frames are to a sample, the more its label
            weighs (:func:`weights_by_distance`). ``'events'``: the more of its events are left
            (:func:`weights_by_events`).

    Raises:
        TypeError, ValueError: An argument makes no sense; or, in the call, frames are not
            ``(B, T*2, H, W)``, or labels not as many.
        AssertionError: Labels are not ``(B, num_classes)`` (in the call, by mmpretrain).
    """

    def __init__(
        self,
        alpha: float = 1.0,
        num_gaussians: int | Sequence[int] = (2, 4),
        label: str = 'distance',
    ) -> None:
        super().__init__(check_number('alpha', alpha, above=0))
        pair = isinstance(num_gaussians, list | tuple) and len(num_gaussians) == 2
        fewest, most = cast(tuple, num_gaussians) if pair else (num_gaussians, num_gaussians)
        check_integer('num_gaussians', fewest, at_least=1)
        check_integer('the larger of num_gaussians', most, at_least=fewest)
        weights = dict(distance=weights_by_distance, events=weights_by_events)
        if label not in weights:
            raise ValueError(f"label must be 'distance' or 'events', got {label!r}")
        self.num_gaussians = (fewest, most)
        self.label = label
        self._weights = weights[label]

    def mix(self, batch_inputs: Tensor, batch_scores: Tensor) -> tuple[Tensor, Tensor]:
        """Mix frames and labels.

        Args:
            batch_inputs: ``(B, T*2, H, W)``, of any number type.
            batch_scores: ``(B, num_classes)``, one-hot or soft.

        Returns:
            Both mixed, of the same shapes.
        """
        shape = tuple(batch_inputs.shape)
        if len(shape) != 4 or shape[1] == 0 or shape[1] % POLARITIES:
            raise ValueError(
                f'EventMix takes event frames (B, T*2, H, W), OFF and ON of each time step as '
                f'channels, got {shape}; mmspike.EventDataPreprocessor gives them to it'
            )
        if len(batch_scores) != len(batch_inputs):
            raise ValueError(f'{len(batch_inputs)} samples have {len(batch_scores)} labels')
        index = torch.randperm(len(batch_inputs)).to(batch_inputs.device)
        ratios = np.random.beta(self.alpha, self.alpha, len(batch_inputs))
        frames = batch_inputs.unflatten(1, (-1, POLARITIES))
        partners = frames[index]
        mask = mixture_masks(
            torch.from_numpy(ratios).to(frames.device),
            (frames.shape[1], *frames.shape[3:]),
            self.num_gaussians,
        ).unsqueeze(2)
        weights = self._weights(frames, partners, mask).to(batch_scores).unsqueeze(1)
        mixed = torch.where(mask, frames, partners).flatten(1, 2)
        return mixed, torch.lerp(batch_scores[index], batch_scores, weights)
