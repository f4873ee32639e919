"""Exported files beside the networks that they were made of."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmspike.deploy.onnx_export import folded
from mmspike.deploy.onnx_files import read_onnx
from mmspike.hosts import NETWORK, Part, parts_of
from mmspike.neurons import BaseNeuron
from support.firing_networks import give_statistics
from support.small_runs import small_config

DENSE = (96, 128)


def firing_model(
    path: Path, folder: Path, images: Tensor, **options: Any
) -> tuple[Config, nn.Module]:
    """A small form of a config and its model, whose neurons fire.

    Args:
        path: The config.
        folder: For its data.
        images: A batch that the model takes.
        **options: Of the config, by their dotted names.
    """
    cfg = small_config(path, folder, **options)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).eval()
    for part in parts_of(model, images):
        inputs = images if part.name == NETWORK else torch.randn_like(part.sample)
        owner = model if part.name == NETWORK else model.get_submodule(part.name)
        give_statistics(owner, lambda part=part, inputs=inputs: part.module(inputs))
    return cfg, model


def rounded(model: nn.Module, images: Tensor, files: list[Path]) -> nn.Module:
    """The network of exported files in torch: folded, with weights of 8 bits where they have."""
    model = folded(model, images)
    for name in {name for file in files for name in read_onnx(file)[1].int8_layers}:
        layer = model.get_submodule(name)
        first = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        others = [dim for dim in range(layer.weight.dim()) if dim != first]
        scale = layer.weight.data.abs().amax(others, keepdim=True) / 127
        scale[scale == 0] = 1
        layer.weight.data = (layer.weight.data / scale).round() * scale
    return model


@torch.no_grad()
def fired_in(
    part: Part, model: nn.Module, x: Tensor
) -> tuple[tuple, dict[str, tuple[np.ndarray, float]]]:
    """Outputs of a part, and what its neurons put out, and the worth of one spike, in order.

    A neuron that is called again is ``name:2``.
    """
    names = {module: name for name, module in model.named_modules()}
    fired: dict[str, tuple[np.ndarray, float]] = {}

    def note(neuron: BaseNeuron, args: tuple, out: Tensor) -> None:
        name, times = names[neuron], 1
        while (key := name if times == 1 else f'{name}:{times}') in fired:
            times += 1
        fired[key] = out.numpy(), neuron.spike_value

    neurons = [module for module in part.module.modules() if isinstance(module, BaseNeuron)]
    handles = [neuron.register_forward_hook(note) for neuron in neurons]
    try:
        return part.module(x), fired
    finally:
        for handle in handles:
            handle.remove()
