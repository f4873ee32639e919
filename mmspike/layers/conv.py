"""Convolution blocks of Meta-SpikeFormer (arXiv 2404.03663) and SDT v3 (arXiv 2411.16061).

In all of them the residual stream carries membrane potentials: a neuron stands before each
convolution, so that convolutions see spikes and sums see real numbers.
"""

import warnings
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmspike.moved import moved_names
from mmspike.registry import MODELS


def spike_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    *,
    neuron_cfg: dict | None,
    norm_cfg: dict | None,
    order: tuple[str, str, str] = ('act', 'conv', 'norm'),
    **kwargs,
) -> ConvModule:
    """Neuron, convolution with "same" padding, norm: ``(T*B, C, H, W)`` to ``(T*B, C', H', W')``.

    ``neuron_cfg=None`` leaves the neuron out, ``norm_cfg=None`` the norm. Other arguments are those
    of :class:`mmcv.cnn.ConvModule`.
    """
    MODELS.check_type(neuron_cfg)  # ConvModule asks mmcv's registry, which knows no name of ours
    with warnings.catch_warnings():
        # Published weights have such biases, and counting parameters needs them.
        warnings.filterwarnings('ignore', 'Unnecessary conv bias')
        return ConvModule(
            in_channels,
            out_channels,
            kernel_size,
            padding=kwargs.pop('padding', kernel_size // 2),
            norm_cfg=norm_cfg,
            act_cfg=neuron_cfg,
            order=order,
            **kwargs,
        )


def use_preactivation_neurons(model: nn.Module, neuron_cfg: dict) -> None:
    """Put a neuron before the convolution of every ``ConvModule``, instead of what comes after.

    So a head of mmdet or mmseg keeps its own construction and becomes a spiking one. The model is
    changed in place; :func:`mmspike.set_timesteps` has to follow.
    """
    for module in model.modules():
        if isinstance(module, ConvModule):
            module.order = ('act', 'conv', 'norm')
            module.act_cfg = dict(neuron_cfg)
            module.with_activation = True
            module.activate = MODELS.build(neuron_cfg)


class SpikeSepConv(BaseModule):
    """Spiking separable convolution: pointwise, depthwise, pointwise, each after a neuron.

    Args:
        channels: Input and output channels.
        kernel_size: Kernel of the depthwise convolution.
        expansion: Width of the depthwise convolution over ``channels``.
        analog_pointwise: No norm and no neuron stand behind the depthwise convolution, as in SDT
            v2: the second pointwise convolution takes real numbers.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        expansion: int = 2,
        analog_pointwise: bool = False,
        neuron_cfg: dict,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        hidden = channels * expansion
        between = None if analog_pointwise else norm_cfg
        self.pointwise1 = spike_conv(channels, hidden, neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)
        self.depthwise = spike_conv(
            hidden, hidden, kernel_size, groups=hidden, bias=False, neuron_cfg=neuron_cfg,
            norm_cfg=between, conv_cfg=dict(type='mmspike.DepthwiseConv2d'),
        )  # fmt: skip
        self.pointwise2 = spike_conv(
            hidden, channels, neuron_cfg=None if analog_pointwise else neuron_cfg, norm_cfg=norm_cfg
        )
        if analog_pointwise:
            self.analog_layers = ('pointwise2.conv',)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        return self.pointwise2(self.depthwise(self.pointwise1(x)))


class SpikeConvBlock(BaseModule):
    """Block of the early stages: ``x + sep_conv(x)``, then ``x + conv2(conv1(x))``.

    Args:
        channels: Input and output channels.
        kernel_size: Kernel of the depthwise convolution; None leaves ``sep_conv`` out, as in SDT v3
            large.
        expansion: Width between the two 3x3 convolutions over ``channels``.
        bias: Whether the 3x3 convolutions have biases.
        analog_pointwise: See :class:`SpikeSepConv`.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int | None = 7,
        expansion: int = 4,
        bias: bool = False,
        analog_pointwise: bool = False,
        neuron_cfg: dict,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg)
        self.sep_conv = (
            None
            if kernel_size is None
            else SpikeSepConv(channels, kernel_size, analog_pointwise=analog_pointwise, **cfgs)
        )
        self.conv1 = spike_conv(channels, channels * expansion, 3, bias=bias, **cfgs)
        self.conv2 = spike_conv(channels * expansion, channels, 3, bias=bias, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        if self.sep_conv is not None:
            x = x + self.sep_conv(x)
        return x + self.conv2(self.conv1(x))


__getattr__ = moved_names(__name__, {'put_neurons_first': 'layers.conv:use_preactivation_neurons'})
