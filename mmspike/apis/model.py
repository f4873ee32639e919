"""Building the model of a config."""

import os

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmspike.weights import load_weights


def build_model(
    cfg: Config, checkpoint: str | os.PathLike | None = None, device: str = 'cpu'
) -> BaseModel:
    """Build the model of a config, in evaluation mode.

    Types are looked up in the current default scope, see mmengine's ``init_default_scope``.

    Args:
        cfg: Config; a ``data_preprocessor`` beside its model belongs to the model.
        checkpoint: File of weights; None leaves the model untrained.
        device: Where the model is put.

    Raises:
        OSError, ValueError, NeuronMismatchError: See :func:`~mmspike.weights.load_weights`.
    """
    model_cfg = cfg.model.copy()
    if cfg.get('data_preprocessor'):
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(model_cfg)
    if checkpoint:
        load_weights(model, checkpoint)
    return model.to(device).eval()
