"""Training a classifier to reproduce the predictions of another one."""

import copy
import os
import warnings
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as HOST_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from mmspike.execution.spike_train import without_flow
from mmspike.masking import set_masking
from mmspike.neurons import BaseNeuron
from mmspike.neurons.base import check_number
from mmspike.registry import MODELS
from mmspike.seeding import seeded
from mmspike.weights import load_weights


@MODELS.register_module()
class DistilledClassifier(ImageClassifier):
    """An ``ImageClassifier`` with an additional loss, its divergence from a frozen teacher.

    ``distill_loss`` is ``weight * t^2 * KL(teacher || student)`` of the class probabilities at
    temperature t (Hinton et al., arXiv 1503.02531), beside the head's own loss. The teacher sees
    the same batch, in evaluation mode and without spike masking: it may be the student itself as it
    was before masking.

    The teacher is loaded when the first loss is computed. It is no part of the model: evaluation
    and inference do without its file, and neither checkpoints nor optimisers, averaged copies or
    distributed wrappers know of it.

    Args:
        backbone: Config of the student's backbone.
        neck: Config of its neck.
        head: Config of its head.
        teacher_checkpoint: File with the weights of the teacher.
        teacher: Config of the teacher: a model config, or a config file whose ``model`` it is. None
            is a teacher with the student's own backbone, neck and head.
        temperature: t, above 0.
        distill_weight: Weight of ``distill_loss``.
        **kwargs: See ``mmpretrain.models.ImageClassifier``.

    Raises:
        TypeError, ValueError: An option is not acceptable.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        *,
        teacher_checkpoint: str | os.PathLike,
        teacher: dict | str | None = None,
        temperature: float = 1.0,
        distill_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if head is None:
            raise ValueError('a classifier without a head has no scores to compare: set head')
        _check_local(teacher_checkpoint)
        if teacher is None:
            teacher = copy.deepcopy(
                dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)
            )
        super().__init__(backbone, neck, head, **kwargs)
        self.temperature = check_number('temperature', temperature, above=0)
        self.distill_weight = check_number('distill_weight', distill_weight, at_least=0)
        self.teacher_cfg = teacher
        self._teacher_checkpoint = os.fspath(teacher_checkpoint)
        # In a list: torch does not look for modules there.
        self._teacher: list[BaseModel] = []

    @property
    def teacher(self) -> nn.Module | None:
        """The frozen teacher; None before the first loss."""
        return self._teacher[0] if self._teacher else None

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """The head's losses and ``distill_loss``.

        Args:
            inputs: Images ``(B, C, H, W)``.
            data_samples: Their labels.

        Raises:
            FileNotFoundError, ValueError: The teacher's weights cannot be read or do not fit.
        """
        seen: list[Tensor] = []
        # What the loss is given and not a second call of the head, which would mask other spikes.
        handle = self.head.loss_module.register_forward_pre_hook(
            lambda module, args: seen.append(args[0])
        )
        try:
            losses = super().loss(inputs, data_samples)
        finally:
            handle.remove()
        # Losses on every time step are given (T, B, classes).
        scores = seen[0].mean(0) if seen[0].dim() == 3 else seen[0]
        return dict(losses, distill_loss=self._distill_loss(scores, self._teach(inputs)))

    def _distill_loss(self, scores: Tensor, taught: Tensor) -> Tensor:
        if scores.shape != taught.shape:
            raise ValueError(
                f'the scores (images, classes) of the teacher have shape {tuple(taught.shape)}, '
                f'those of the student {tuple(scores.shape)}'
            )
        own, target = (log_softmax(x.float() / self.temperature, -1) for x in (scores, taught))
        divergence = kl_div(own, target, reduction='batchmean', log_target=True)
        return self.distill_weight * self.temperature**2 * divergence

    @torch.no_grad()
    def _teach(self, inputs: Tensor) -> Tensor:
        """The teacher's logits ``(B, classes)``."""
        if not self._teacher:
            self._teacher.append(self._load_teacher())
        # The student may have been moved since the last call, and the teacher is no part of it.
        teacher = self._teacher[0].to(inputs.device)
        # Unseen by what counts the student's operations.
        with without_flow():
            return teacher(inputs, mode='tensor')

    def __getstate__(self) -> dict:
        """State of copies and pickles. It excludes the teacher, which they load on demand."""
        return dict(self.__dict__, _teacher=[])

    def _load_teacher(self) -> nn.Module:
        cfg, path = self.teacher_cfg, self._teacher_checkpoint
        if isinstance(cfg, str):
            cfg = Config.fromfile(cfg).model
        # Its first weights are drawn, in the midst of training: a run that was resumed, which loads
        # it once more, would go on with other numbers.
        with seeded(0):
            teacher = HOST_MODELS.build(copy.deepcopy(cfg))
        # Chosen before, so that it does not take the masking of the checkpoint.
        if any(isinstance(module, BaseNeuron) for module in teacher.modules()):
            set_masking(teacher, {'all': 0.0})
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'the checkpoint was made with spike masking')
            load_weights(teacher, path)
        return teacher.eval().requires_grad_(False)


def _check_local(path: str | os.PathLike) -> None:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f'teacher_checkpoint must be the path of a file, got {path!r} ({type(path).__name__})'
        )
    if '://' in str(path):
        raise ValueError(
            f'teacher_checkpoint must be the path of a file, got the URL {str(path)!r}: download '
            'it first'
        )
