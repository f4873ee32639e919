"""Chains of linear layers that are trained as such and run as one convolution.

SDT v2 (arXiv 2404.03663) and SDT v3 large (arXiv 2411.16061) train the projections of an attention
as several convolutions with norms and no neuron between them. In evaluation the chain is linear:
one convolution that takes spikes.
"""

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike.checks import check_number
from mmspike.execution.spike_train import SpikeTrain, without_flow
from mmspike.registry import MODELS


@MODELS.register_module()
class RepConv(BaseModule):
    """A pointwise convolution, a depthwise one and a pointwise one, with norms: one convolution.

    In training the layers run one after the other: pointwise, norm, depthwise, pointwise, norm. The
    border that the depthwise convolution needs holds the value that the first norm gives to zero,
    so that the chain equals one convolution with zeros around its input (:meth:`folded`). In
    evaluation the chain runs as well, until :func:`fold_rep_convs` replaces it; wherever spikes are
    followed (spike-driven execution, energy), spikes go through the one convolution.

    It is built by ``mmcv.cnn.ConvModule`` from ``conv_cfg=dict(type='mmspike.RepConv')``, with the
    arguments of a convolution.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel of the depthwise convolution, an odd number; 1 leaves it out.
        stride, padding, dilation, groups, bias: As of a convolution, which ``ConvModule`` passes.
            Only "same" padding, and otherwise torch's defaults without a bias, are possible.
        expansion: Width between the pointwise convolutions over ``in_channels``.
        norm_cfg: Config of the norms: batch norms with factors and running statistics.

    Raises:
        TypeError, ValueError: An argument is not possible. ValueError when weights are loaded: they
            are those of the one convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        expansion: float = 1.0,
        norm_cfg: dict = dict(type='BN'),
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size of RepConv must be odd, got {kernel_size}')
        hidden = int(in_channels * check_number('expansion', expansion, above=0))
        if hidden < 1:
            raise ValueError(
                f'expansion={expansion} of in_channels={in_channels} leaves no channel between the '
                'convolutions of RepConv'
            )
        norm1, norm2 = (_batch_norm(norm_cfg, channels) for channels in (hidden, out_channels))
        same = kernel_size // 2
        asked = (stride, same if padding is None else padding, dilation, groups, bias)
        if asked != (1, same, 1, 1, False):
            raise ValueError(
                f'RepConv has stride 1, padding {same} for kernel_size={kernel_size}, dilation 1, '
                f'groups 1 and no bias; got {asked}'
            )
        # What ConvModule asks a convolution for.
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.padding = (kernel_size,) * 2, (same,) * 2
        self.stride = self.dilation = (1, 1)
        self.output_padding = (0, 0)
        self.groups, self.transposed = 1, False
        self.pointwise1 = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.norm1 = norm1
        self.depthwise = (
            nn.Conv2d(hidden, hidden, kernel_size, groups=hidden, bias=False)
            if kernel_size > 1
            else nn.Identity()
        )
        self.pointwise2 = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.norm2 = norm2

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to ``(T*B, C', H, W)``."""
        if isinstance(x, SpikeTrain) and not self.training:
            with without_flow():
                weights = self.folded_weights()
            return conv2d(x, *weights, padding=self.padding)
        x = self._with_border(self.norm1(self.pointwise1(x)))
        return self.norm2(self.pointwise2(self.depthwise(x)))

    def _with_border(self, x: Tensor) -> Tensor:
        width = self.padding[0]
        if not width:
            return x
        # Zeros inside the border, and outside of it what the norm makes of a zero.
        _, shift = _merged(self.pointwise1, self.norm1)
        shift = shift.detach().to(x.dtype).view(-1, 1, 1)
        outside = pad(torch.zeros_like(x[:1, :1]), (width,) * 4, value=1.0)
        return pad(x, (width,) * 4) + outside * shift

    def folded_weights(self) -> tuple[Tensor, Tensor]:
        """Weight ``(C', C, k, k)`` and bias ``(C',)`` of the one convolution, as in evaluation."""
        first, shift1 = _merged(self.pointwise1, self.norm1)  # (hidden, C)
        last, shift2 = _merged(self.pointwise2, self.norm2)  # (C', hidden)
        if isinstance(self.depthwise, nn.Identity):
            kernels = torch.ones_like(shift1)[:, None, None]
        else:
            kernels = self.depthwise.weight.squeeze(1)  # (hidden, k, k)
        weight = torch.einsum('om,mhw,mi->oihw', last, kernels, first)
        bias = shift2 + last @ (kernels.sum((1, 2)) * shift1)
        return weight, bias

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The one convolution, with a bias. It is trainable if any part of the chain is."""
        weight, bias = self.folded_weights()
        conv = nn.Conv2d(
            self.in_channels, self.out_channels, self.kernel_size, padding=self.padding,
            device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        conv.weight.copy_(weight)
        assert conv.bias is not None
        conv.bias.copy_(bias)
        conv.register_load_state_dict_pre_hook(_refuse_chain)
        conv.requires_grad_(any(parameter.requires_grad for parameter in self.parameters()))
        return conv.train(self.training)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if f'{prefix}weight' in state_dict:
            raise ValueError(
                f'the weights hold {prefix[:-1]} as one convolution, the model has the chain that '
                'it was folded from: call fold_rep_convs(model) before they are loaded, or build '
                'the backbone with deploy=True'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _refuse_chain(module: nn.Module, state_dict: dict, prefix: str, *args: Any) -> None:
    if f'{prefix}pointwise1.weight' in state_dict:
        raise ValueError(
            f'the weights hold {prefix[:-1]} as a chain of convolutions, the model has it folded: '
            'load them into a model with chains (deploy=False), then call fold_rep_convs(model)'
        )


def _batch_norm(norm_cfg: dict | None, channels: int) -> nn.Module:
    norm = None if norm_cfg is None else build_norm_layer(norm_cfg, channels)[1]
    if isinstance(norm, _BatchNorm) and norm.affine and norm.track_running_stats:
        return norm
    raise ValueError(
        'RepConv folds its norms into convolutions, so they must be batch norms with factors and '
        f'running statistics, got norm_cfg={norm_cfg}'
    )


def _merged(conv: nn.Conv2d, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight ``(out, in)`` and bias ``(out,)`` of a pointwise convolution with its norm.

    They are those of evaluation. ``mmcv.cnn.fuse_conv_bn`` may have merged both before.
    """
    weight = conv.weight.flatten(1)
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias
    if isinstance(norm, nn.Identity):
        return weight, bias
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale[:, None] * weight, norm.bias + scale * (bias - norm.running_mean)


def fold_rep_convs(model: nn.Module) -> int:
    """Replace every :class:`RepConv` of a model by its one convolution, in place.

    Args:
        model: A trained model. It can be trained further, but no longer as a chain. Weights of
            chains no longer fit it.

    Returns:
        How many were replaced. One that stands in several places stays one.

    Raises:
        ValueError: The model is itself a chain.
    """
    if isinstance(model, RepConv):
        raise ValueError('a RepConv cannot be replaced inside of itself: take its folded()')
    folded = {chain: chain.folded() for chain in model.modules() if isinstance(chain, RepConv)}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, RepConv):
                setattr(parent, name, folded[child])
    return len(folded)
