"""Folding batch norms into the layers before them, for inference."""

import copy
from collections.abc import Callable
from typing import Any

from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from mmspike.ann2snn.quantise import replace_modules
from mmspike.ann2snn.readers import Readers
from mmspike.layers.depthwise_gradient import DepthwiseConv2d
from mmspike.layers.rep_conv import fold_rep_convs

FUSE: dict[type, Callable[..., nn.Module]] = {
    nn.Conv1d: fuse_conv_bn_eval,
    nn.Conv2d: fuse_conv_bn_eval,
    DepthwiseConv2d: fuse_conv_bn_eval,
    nn.Conv3d: fuse_conv_bn_eval,
    nn.Linear: fuse_linear_bn_eval,
}


def fold_batch_norms(model: nn.Module, run: Callable[[nn.Module], Any] | None = None) -> nn.Module:
    """Return a copy for inference, whose batch norms are part of the layers before them.

    Chains of convolutions (:class:`~mmspike.layers.RepConv`) become one convolution first. In
    evaluation a batch norm is a factor and a sum per channel, which the weights and bias of a
    convolution or linear layer directly before it can take over: there are fewer passes over the
    feature maps, and energy is counted as it would be spent. Pairs are found in mmcv's
    ``ConvModule`` and in ``nn.Sequential``, where the order of execution is known, and, with
    ``run``, wherever a norm is the only user of the output of a layer; other batch norms
    stay. Outputs agree to rounding, which may flip a spike that is a tie.

    Args:
        model: Any model; it is not changed.
        run: Runs the model it is given on any data of the right shape, to see which norm follows
            which layer.

    Returns:
        A copy in evaluation mode. Its ``state_dict`` has no entries for the folded norms.

    Raises:
        ValueError: The model is simulated: layers that it watches would be replaced.
    """
    if hasattr(model, 'simulation'):
        raise ValueError('fold the norms first, then simulate')
    model = copy.deepcopy(model)
    model.eval()  # which returns nothing in mmpretrain's backbones
    fold_rep_convs(model)
    for module in model.modules():
        if isinstance(module, ConvModule):
            _fold_conv_module(module)
        elif isinstance(module, nn.Sequential):
            _fold_sequential(module)
    if run is not None:
        for layer, norm in _pairs(model, run):
            replace_modules(model, {layer: FUSE[type(layer)](layer, norm), norm: nn.Identity()})
    return model


def _can_fold(layer: nn.Module, norm: nn.Module) -> bool:
    return type(layer) in FUSE and isinstance(norm, _BatchNorm) and norm.running_mean is not None


def _fold_conv_module(module: ConvModule) -> None:
    follows = ('conv', 'norm') in zip(module.order, module.order[1:], strict=False)
    if module.with_norm and follows and _can_fold(module.conv, module.norm):
        module.conv = FUSE[type(module.conv)](module.conv, module.norm)
        setattr(module, module.norm_name, nn.Identity())


def _fold_sequential(sequence: nn.Sequential) -> None:
    for i in range(len(sequence) - 1):
        layer, norm = sequence[i], sequence[i + 1]
        if _can_fold(layer, norm):
            sequence[i] = FUSE[type(layer)](layer, norm)
            sequence[i + 1] = nn.Identity()


def _pairs(model: nn.Module, run: Callable[[nn.Module], Any]) -> list[tuple[nn.Module, nn.Module]]:
    """Layers and norms, where in every call the norm is the only reader of the layer's output."""
    readers = Readers(model, run, tuple(FUSE), (_BatchNorm,))
    return [
        (layer, norm)
        for layer, norm in readers.sole()
        if readers.calls[layer] == readers.calls[norm] == 1 and _can_fold(layer, norm)
    ]
