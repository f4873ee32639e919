"""The averaged copies of a model, which hooks that change neurons must also change."""

from mmengine.runner import Runner
from torch import nn


def averaged_models(runner: Runner) -> list[nn.Module]:
    """The copies that EMA hooks keep of the model."""
    averaged = (getattr(hook, 'ema_model', None) for hook in runner.hooks)
    return [model.module for model in averaged if model is not None]
