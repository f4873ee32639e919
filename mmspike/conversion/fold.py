"""Folding batch norms into the layers before them, for inference."""

import copy

from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

FUSE = {
    nn.Conv1d: fuse_conv_bn_eval,
    nn.Conv2d: fuse_conv_bn_eval,
    nn.Conv3d: fuse_conv_bn_eval,
    nn.Linear: fuse_linear_bn_eval,
}


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Return a copy for inference, whose batch norms are part of the layers before them.

    In evaluation a batch norm is a factor and a sum per channel, which the weights and bias of a
    convolution or linear layer directly before it can take over: there are fewer passes over the
    feature maps, and energy is counted as it would be spent. Pairs are found in mmcv's
    ``ConvModule`` and in ``nn.Sequential``, where the order of execution is known; other batch
    norms stay. Outputs agree to rounding, which may flip a spike that is a tie.

    Args:
        model: Any model; it is not changed.

    Returns:
        A copy in evaluation mode. Its ``state_dict`` has no entries for the folded norms.
    """
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, ConvModule):
            _fold_conv_module(module)
        elif isinstance(module, nn.Sequential):
            _fold_sequential(module)
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
