"""The common base of spiking segmentation heads."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from mmspike.layers import NeuronInit, TemporalMean, use_preactivation_neurons
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, init_timesteps


class SpikingDecodeHead(NeuronInit, TemporalModule, BaseDecodeHead):
    """Mixin in front of a decode head of mmseg: a neuron before each convolution.

    Maps ``(T*B, C, H, W)`` give logits ``(B, K, H, W)``, the mean over time.

    Args:
        timesteps: Number of time steps T, the same as the backbone's; None for one step behind a
            ``readout``.
        neuron_cfg: Config of the neurons.
        dropout_ratio: Rate of dropped channels before the last convolution; the reference has none.
        class_priors: Share of the pixels that each class has; the bias of the last convolution
            begins with their logarithms, and None leaves it at 0. Where one class has most pixels,
            the first steps would otherwise teach its bias to the weights, and silence the neurons
            in front of them on all other pixels: silent neurons have no gradient.
        **kwargs: See the parent head.

    Raises:
        ValueError: ``class_priors`` are not as many positive numbers as there are classes.
    """

    def __init__(
        self,
        *args: Any,
        timesteps: int | None = 1,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4),
        dropout_ratio: float = 0.0,
        class_priors: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, dropout_ratio=dropout_ratio, **kwargs)
        if class_priors is not None and (
            len(class_priors) != self.out_channels or min(class_priors) <= 0
        ):
            raise ValueError(
                f'class_priors must be {self.out_channels} positive numbers, one per class, got '
                f'{list(class_priors)}'
            )
        self.class_priors = class_priors
        use_preactivation_neurons(self, neuron_cfg)
        self.neuron = MODELS.build(neuron_cfg)
        self.readout = TemporalMean()
        init_timesteps(self, timesteps)

    def init_weights(self) -> None:
        """Initialise from ``init_cfg``, then the last bias from ``class_priors``."""
        super().init_weights()
        if self.class_priors is not None:
            self.conv_seg.bias.data.copy_(torch.tensor(self.class_priors).log())

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Logits ``(B, K, H, W)`` of features ``(T*B, C, H, W)``."""
        return self.readout(super().cls_seg(self.neuron(feat)))
