"""A frozen model that answers the images of a training."""

import copy
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.apis.model import ModelHub
from mmpretrain.registry import MODELS as HOST_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmspike.execution.spike_train import without_flow
from mmspike.masking import set_masking
from mmspike.neurons import BaseNeuron
from mmspike.seeding import seeded
from mmspike.weights import load_weights


def teacher_model_config(teacher: dict | str | os.PathLike) -> dict:
    """The model config of a teacher.

    Args:
        teacher: A model config; or a config file or the name of one of mmpretrain's models, whose
            ``model`` and ``data_preprocessor`` are taken.

    Raises:
        ValueError: Neither a file nor a model has that name.
    """
    if isinstance(teacher, dict):
        return copy.deepcopy(teacher)
    return model_of(Config.fromfile(teacher_config_file(teacher)))


def teacher_config_file(name: str | os.PathLike) -> str:
    """The config file of that name, or of the model of mmpretrain of that name.

    Raises:
        ValueError: Neither exists.
    """
    if Path(name).is_file():
        return str(name)
    try:
        return ModelHub.get(str(name)).config.filename
    except ValueError:
        raise ValueError(
            f'teacher {str(name)!r} is neither a config file nor a model of mmpretrain '
            '(mmpretrain.list_models() lists their names)'
        ) from None


def model_of(cfg: Config) -> dict:
    """The model of a config; a ``data_preprocessor`` beside it belongs to it."""
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model


def load_teacher(model: dict, checkpoint: str | os.PathLike) -> BaseModel:
    """Build a teacher: in evaluation mode, without gradients, without spike masking.

    Args:
        model: Model config.
        checkpoint: File of its weights.

    Raises:
        OSError, ValueError, NeuronMismatchError: See :func:`~mmspike.weights.load_weights`.
    """
    # Its first weights are drawn, in the midst of training: a run that was resumed, which loads it
    # once more, would go on with other numbers.
    with seeded(0):
        teacher = HOST_MODELS.build(copy.deepcopy(model))
    # Chosen before, so that it does not take the masking of the checkpoint.
    if any(isinstance(module, BaseNeuron) for module in teacher.modules()):
        set_masking(teacher, {'all': 0.0})
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'the checkpoint was made with spike masking')
        load_weights(teacher, checkpoint)
    return teacher.eval().requires_grad_(False)


class LiveTeacher:
    """A teacher that runs beside its student and sees the same images.

    Args:
        config: See :func:`teacher_model_config`.
        checkpoint: File of its weights.
        preprocessor: The student's, which normalises the images.

    Raises:
        OSError, ValueError, NeuronMismatchError: See :func:`load_teacher`.
    """

    def __init__(
        self, config: dict | str, checkpoint: str | os.PathLike, preprocessor: nn.Module
    ) -> None:
        self.model = load_teacher(teacher_model_config(config), checkpoint)
        self._preprocessor = preprocessor
        wanted = _normalisation(self.model.data_preprocessor)
        self._renormalises = wanted is not None and wanted != _normalisation(preprocessor)

    def check_data(self, dataset: Any) -> None:
        """Nothing to check: it answers any image."""

    @torch.no_grad()
    def logits(self, inputs: Tensor, data_samples: list[DataSample]) -> Tensor:
        """Logits ``(B, classes)``.

        Args:
            inputs: Images ``(B, C, H, W)``, normalised for the student.
            data_samples: Not needed.
        """
        # The student may have been moved since the last call, and the teacher is no part of it.
        teacher = self.model.to(inputs.device)
        if self._renormalises:
            inputs = renormalised(inputs, self._preprocessor, teacher.data_preprocessor)
        # Unseen by what counts the student's operations.
        with without_flow():
            return teacher(inputs, mode='tensor')


def renormalised(inputs: Tensor, old: Any, new: Any) -> Tensor:
    """Images ``(..., C, H, W)`` as another preprocessor of mmpretrain would have normalised them.

    Args:
        inputs: Images.
        old: The preprocessor that made them.
        new: The other one; it normalises.
    """
    pixels = inputs if _normalisation(old) is None else inputs * old.std + old.mean
    if old.to_rgb != new.to_rgb:
        pixels = pixels.flip(-3)
    return (pixels - new.mean) / new.std


def _normalisation(preprocessor: Any) -> tuple | None:
    """Order of the channels, means and deviations; None if there are none."""
    if getattr(preprocessor, 'mean', None) is None:
        return None
    values = (preprocessor.mean, preprocessor.std)
    return (bool(preprocessor.to_rgb), *(value.flatten().tolist() for value in values))
