"""Mask head on spikes."""

from collections.abc import Iterator
from typing import Any

from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from torch import Tensor, nn

from mmspike.layers import NeuronInit, TemporalMean, use_preactivation_neurons
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, init_timesteps


@MODELS.register_module()
class SpikeFCNMaskHead(NeuronInit, TemporalModule, FCNMaskHead):
    """mmdet's ``FCNMaskHead`` with a neuron before each convolution.

    Features ``(T*n, C, h, w)`` of n regions give mask logits ``(n, K, 2*h, 2*w)``, the mean over
    time. The reference keeps a ReLU behind every convolution (BICLab/Spike-Driven-Transformer-V3,
    ``SDT_V3/Detection``); here the next neuron sees the membrane as it is. To the integer neuron,
    which clamps at 0, that is the same.

    Args:
        timesteps: Number of time steps T, the same as the backbone's.
        neuron_cfg: Config of the neurons.
        **kwargs: See ``mmdet.models.FCNMaskHead``.
    """

    def __init__(
        self,
        *args: Any,
        timesteps: int | None = 1,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4, norm=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        use_preactivation_neurons(self, neuron_cfg)
        deconv = self.upsample_method == 'deconv'
        self.upsample_neuron = MODELS.build(neuron_cfg) if deconv else nn.Identity()
        # The parent applies it between the deconvolution and the last convolution.
        self.relu = nn.Identity()
        self.logits_neuron = MODELS.build(neuron_cfg)
        self.readout = TemporalMean()
        init_timesteps(self, timesteps)

    def spiking_layers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """The convolutions and the deconvolution, each with its neuron."""
        yield from super().spiking_layers()
        if self.upsample_method == 'deconv':
            yield self.upsample_neuron, self.upsample

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x)
        if self.upsample is not None:
            x = self.upsample(self.upsample_neuron(x))
        return self.readout(self.conv_logits(self.logits_neuron(x)))
