"""Training a classifier to reproduce the predictions of another one."""

import copy
import os
from typing import Any

from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from mmspike.checks import check_number
from mmspike.classifiers.stored_teacher import StoredTeacher
from mmspike.classifiers.teacher import LiveTeacher
from mmspike.deprecation import (
    WithOldNames,
    renamed_arguments,
    renamed_attribute,
    warn_renamed,
)
from mmspike.heads.cls import SpikeDistillClsHead
from mmspike.registry import MODELS


@MODELS.register_module()
class DistilledClassifier(WithOldNames, ImageClassifier):
    """An ``ImageClassifier`` that learns from labels and from a frozen teacher.

    The loss is ``(1 - alpha) * label_loss + alpha * distill_loss`` (Touvron et al., arXiv
    2012.12877); the log shows both terms with their weights. ``label_loss`` is the head's own.
    ``distill_loss`` is

    - soft: ``tau^2 * KL(teacher || student)`` of the class probabilities at temperature tau
      (Hinton et al., arXiv 1503.02531);
    - hard: the cross entropy with the teacher's most probable class.

    Of a :class:`~mmspike.heads.cls.SpikeDistillClsHead`, labels train ``fc`` and the teacher trains
    ``fc_distill``. Of any other head, both train the same scores. Scores of several time steps are
    averaged for the teacher.

    The teacher sees the same batch, in evaluation mode and without spike masking: it may be the
    student itself as it was before masking. It is loaded when training begins. It is no part of the
    model: evaluation and inference do without its file, and neither checkpoints nor optimisers,
    averaged copies or distributed wrappers know of it.

    Args:
        backbone: Config of the student's backbone.
        neck: Config of its neck.
        head: Config of its head.
        teacher_checkpoint: File with the weights of a teacher that runs beside the student.
        teacher: This teacher: a model config, a config file, or the name of one of mmpretrain's
            models. None is a teacher with the student's own backbone, neck and head. Where it is
            known to normalise images in another way, it is given them so.
        teacher_logits: Instead of both, a folder of logits that ``tools/store_logits.py`` wrote:
            the teacher does not run. They are the logits of images that are not augmented.
        distillation: ``'soft'`` or ``'hard'``.
        alpha: Weight of the teacher, from 0 to 1.
        tau: Temperature, above 0, of soft distillation.
        distill_weight: Deprecated: ``label_loss + distill_weight * distill_loss``.
        **kwargs: See ``mmpretrain.models.ImageClassifier``.

    Raises:
        TypeError, ValueError: An option is not acceptable.
    """

    temperature = renamed_attribute('temperature', 'tau')

    @renamed_arguments(temperature='tau')
    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        *,
        teacher_checkpoint: str | os.PathLike | None = None,
        teacher: dict | str | None = None,
        teacher_logits: str | os.PathLike | None = None,
        distillation: str = 'soft',
        alpha: float = 0.5,
        tau: float = 1.0,
        distill_weight: float | None = None,
        **kwargs: Any,
    ) -> None:
        if head is None:
            raise ValueError('a classifier without a head has no scores to compare: set head')
        source = _check_source(teacher_checkpoint, teacher, teacher_logits)
        if teacher is None and teacher_logits is None:
            teacher = copy.deepcopy(
                dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)
            )
        super().__init__(backbone, neck, head, **kwargs)
        self.distillation = _check_distillation(distillation, tau)
        self.tau = check_number('tau', tau, above=0)
        self.distill_weight = check_number('alpha', alpha, at_least=0, at_most=1)
        self.label_weight = 1 - self.distill_weight
        if distill_weight is not None:
            warn_renamed('DistilledClassifier(distill_weight=...)', 'alpha=...')
            self.label_weight = 1.0
            self.distill_weight = check_number('distill_weight', distill_weight, at_least=0)
        if teacher_logits is not None and getattr(self.data_preprocessor, 'batch_augments', None):
            raise ValueError(
                'stored logits are those of whole images, and batch_augments (in train_cfg or '
                'data_preprocessor) mixes images: leave it out, or let the teacher run '
                '(teacher_checkpoint)'
            )
        self.teacher_cfg = teacher
        self._source = source
        self._teacher: LiveTeacher | StoredTeacher | None = None

    @property
    def teacher(self) -> nn.Module | None:
        """The frozen teacher; None before training, and if its logits are stored."""
        return None if self._teacher is None else self._teacher.model

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """``label_loss`` and ``distill_loss``, weighted.

        Args:
            inputs: Images ``(B, C, H, W)``.
            data_samples: Their labels.

        Raises:
            FileNotFoundError, ValueError: The teacher's weights or logits cannot be read or do not
                fit.
        """
        taught = self._load_teacher().logits(inputs, data_samples)
        losses, scores = self._losses_and_scores(self.extract_feat(inputs), data_samples)
        distill_loss = self.distill_weight * self._distill_loss(scores, taught)
        return dict(self._weighted(losses), distill_loss=distill_loss)

    def _weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The head's losses with the weight of the labels; accuracies stay."""
        weighted = {
            name: self.label_weight * value if 'loss' in name else value
            for name, value in losses.items()
        }
        # In the log, mmengine gives the name `loss` to the sum.
        if 'loss' in weighted:
            weighted['label_loss'] = weighted.pop('loss')
        return weighted

    def _losses_and_scores(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of the head, and the scores ``(B, classes)`` that learn from the teacher."""
        if isinstance(self.head, SpikeDistillClsHead):
            labelled, distilled = self.head.separate_logits(feats)
            return self.head.loss_by_logits(labelled, data_samples), distilled.mean(0)
        seen: list[Tensor] = []
        # The input of the loss. A second call of the head would mask other spikes.
        handle = self.head.loss_module.register_forward_pre_hook(
            lambda module, args: seen.append(args[0])
        )
        try:
            losses = self.head.loss(feats, data_samples)
        finally:
            handle.remove()
        # Losses on every time step are given (T, B, classes).
        return losses, seen[0].mean(0) if seen[0].dim() == 3 else seen[0]

    def _distill_loss(self, scores: Tensor, taught: Tensor) -> Tensor:
        if scores.shape != taught.shape:
            raise ValueError(
                f'the scores (images, classes) of the teacher have shape {tuple(taught.shape)}, '
                f'those of the student {tuple(scores.shape)}'
            )
        if self.distillation == 'hard':
            return cross_entropy(scores.float(), taught.argmax(-1))
        own, target = (log_softmax(x.float() / self.tau, -1) for x in (scores, taught))
        return self.tau**2 * kl_div(own, target, reduction='batchmean', log_target=True)

    def check_data(self, dataset: Any) -> None:
        """Check, before training, that the teacher can be read and answers this data set.

        :class:`~mmspike.hooks.ClassCheckHook` calls it.

        Raises:
            FileNotFoundError, ValueError: It does not; see :meth:`loss`.
        """
        self._load_teacher().check_data(dataset)

    def _load_teacher(self) -> LiveTeacher | StoredTeacher:
        if self._teacher is None:
            if self.teacher_cfg is None:
                self._teacher = StoredTeacher(self._source)
            else:
                self._teacher = LiveTeacher(self.teacher_cfg, self._source, self.data_preprocessor)
        return self._teacher

    def __getstate__(self) -> dict:
        """State of copies and pickles. It excludes the teacher, which they load on demand."""
        return dict(self.__dict__, _teacher=None)


def _check_distillation(distillation: str, tau: float) -> str:
    if distillation not in ('soft', 'hard'):
        raise ValueError(f"distillation must be 'soft' or 'hard', got {distillation!r}")
    if distillation == 'hard' and tau != 1:
        raise ValueError(f'hard distillation has no temperature, got tau={tau!r}: leave tau out')
    return distillation


def _check_source(checkpoint: Any, teacher: Any, logits: Any) -> str | os.PathLike:
    """The checkpoint or the stored logits."""
    given = {
        name: value
        for name, value in (('teacher_checkpoint', checkpoint), ('teacher_logits', logits))
        if value is not None
    }
    if len(given) != 1:
        raise ValueError(
            'a teacher is either a file of weights (teacher_checkpoint) or a folder of stored '
            f'logits (teacher_logits), got {given or "neither"}'
        )
    if logits is not None and teacher is not None:
        raise ValueError(
            f'stored logits (teacher_logits={str(logits)!r}) need no teacher: leave teacher out'
        )
    [(name, path)] = given.items()
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f'{name} must be a path, got {path!r} ({type(path).__name__})')
    if '://' in str(path):
        raise ValueError(f'{name} must be a path, got the URL {str(path)!r}: download it first')
    return path
