"""Making a copy of a model that runs faster, and only in inference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike.ann2snn import fold_batch_norms
from mmspike.ann2snn.fold import FUSE
from mmspike.ann2snn.readers import Readers
from mmspike.backbones.base import StagedBackbone
from mmspike.execution import CompiledError, get_execution
from mmspike.execution.compiled import compiled_parts
from mmspike.hosts import HEADS, Network
from mmspike.inference.pointwise_conv import use_pointwise_convs
from mmspike.modules import unwrapped
from mmspike.neurons import BaseNeuron
from mmspike.wording import some_of


class InferenceOnly(nn.Module):
    """A part of an optimised model that refuses training. It computes nothing."""

    def train(self, mode: bool = True) -> 'InferenceOnly':
        """Accept evaluation mode.

        Raises:
            RuntimeError: Training was asked for.
        """
        if mode:
            raise RuntimeError(
                'a model from optimize_for_inference cannot be trained: train the original model '
                'and optimise it again'
            )
        return super().train(mode)


def optimize_for_inference(model: nn.Module, *, sample: Tensor | None = None) -> nn.Module:
    """Return a copy of a model for fast inference in PyTorch.

    In the copy

    - batch norms and chains of convolutions are folded (:func:`~mmspike.ann2snn.fold_batch_norms`);
    - weights of convolutions are laid out as channels_last;
    - neurons write their output into the memory of their input where nobody else reads that;
    - pointwise convolutions use oneDNN on one thread as well;
    - parameters take no gradients.

    Outputs agree to rounding, which may flip a spike that is a tie. The copy can be copied, pickled
    and called by several threads; results under ``torch.no_grad()`` and ``torch.inference_mode()``
    are the same. A forward hook sees the output of a layer before a neuron overwrites it: a hook
    that keeps it has to clone it.

    Args:
        model: A classifier of mmpretrain, a detector of mmdet, a segmentor of mmseg, or a backbone;
            it is not changed.
        sample: Images ``(B, C, H, W)`` or frames ``(B, T, C, H, W)`` on the device of the model.
            The copy runs once on them, to see which norm or neuron reads which layer. The values do
            not matter. None: an image of 64x64 zeros.

    Returns:
        The copy, in evaluation mode. Setting it to training is a RuntimeError.

    Raises:
        ValueError: The model is simulated or runs on spikes, or it has no backbone of mmspike and
            no sample is given.
        CompiledError: The model, or a part of it, is compiled.

    Example:
        >>> import torch
        >>> import mmspike
        >>> net = mmspike.backbones.MetaSpikformer('tiny').eval()
        >>> fast = mmspike.optimize_for_inference(net)
        >>> with torch.inference_mode():
        ...     [tuple(f.shape) for f in fast(torch.rand(2, 3, 64, 64))]
        [(2, 128, 4, 4)]
    """
    model = unwrapped(model)
    _check(model)
    images = _zeros(model) if sample is None else sample

    def run(net: nn.Module) -> Any:
        return _outputs(net, images)

    model = fold_batch_norms(model, run).requires_grad_(False)
    for neuron in _sole_readers(model, run):
        neuron.overwrites_input = True
    use_pointwise_convs(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.add_module('inference_only', InferenceOnly().eval())
    return model


def _check(model: nn.Module) -> None:
    if any(hasattr(module, 'simulation') for module in model.modules()):
        raise ValueError(
            'the model is simulated, and a simulation watches its layers: optimise a model that '
            'was not passed to mmspike.ann2snn.simulate'
        )
    if any(get_execution(module) != 'integer' for module in model.modules()):
        raise ValueError(
            'the model runs on spikes: optimise it in integer execution, set_execution(model, '
            "'integer'), which has the same results"
        )
    compiled = compiled_parts(model)
    if compiled:
        raise CompiledError(
            f'{some_of(compiled)} is compiled: optimise the original model, then compile the copy'
        )


def _zeros(model: nn.Module) -> Tensor:
    backbone = next((m for m in model.modules() if isinstance(m, StagedBackbone)), None)
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no backbone of mmspike: give a batch of images that it '
            'takes, optimize_for_inference(model, sample=images)'
        )
    weight = next(backbone.parameters())
    return weight.new_zeros(1, backbone.in_channels, 64, 64)


def _outputs(model: Any, images: Tensor) -> Any:
    """Run a model as far as its raw outputs."""
    if not hasattr(model, 'extract_feat'):
        return model(images)
    if any(isinstance(getattr(model, head, None), nn.Module) for head in HEADS):
        return Network(model)(images)
    return model.extract_feat(images)


def _sole_readers(model: nn.Module, run: Callable[[nn.Module], Any]) -> list[BaseNeuron]:
    """Neurons that, at every call, are the only readers of the output of a layer or norm."""
    # A host hands what one part puts out to others, some of which do not run here.
    parts = model.children() if hasattr(model, 'extract_feat') else ()
    readers = Readers(model, run, (*FUSE, _BatchNorm), (BaseNeuron,), parts)
    alone = [reader for _, reader in readers.sole()]
    return [
        neuron
        for neuron in dict.fromkeys(alone)
        if isinstance(neuron, BaseNeuron) and alone.count(neuron) == readers.calls[neuron]
    ]
