"""Box heads on spikes."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from torch import Tensor, nn

from mmspike.layers import NeuronInit, TemporalMean, use_preactivation_neurons
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, init_timesteps


@MODELS.register_module()
class SpikeConvFCBBoxHead(NeuronInit, TemporalModule, ConvFCBBoxHead):
    """mmdet's ``ConvFCBBoxHead`` with a neuron before each convolution and hidden linear layer.

    Features ``(T*n, C, h, w)`` of n regions give scores ``(n, K+1)`` and box deltas ``(n, 4*K)``,
    the mean over time. The two last layers read membranes, as in the reference
    (BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/Detection``).

    Args:
        timesteps: Number of time steps T, the same as the backbone's.
        neuron_cfg: Config of the neurons.
        **kwargs: See ``mmdet.models.ConvFCBBoxHead``.
    """

    # They read membranes (see mmspike.execution).
    analog_layers = ('fc_cls', 'fc_reg')

    def __init__(
        self,
        *args: Any,
        timesteps: int | None = 1,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4, norm=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        use_preactivation_neurons(self, neuron_cfg)
        for fcs in (self.shared_fcs, self.cls_fcs, self.reg_fcs):
            for i, fc in enumerate(fcs):
                fcs[i] = nn.Sequential(MODELS.build(neuron_cfg), fc)
        self.relu = nn.Identity()  # the parent applies it after each linear layer
        self.readout = TemporalMean()
        init_timesteps(self, timesteps)

    def spiking_layers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Convolutions and hidden linear layers, each with its neuron."""
        yield from super().spiking_layers()
        yield from chain(self.shared_fcs, self.cls_fcs, self.reg_fcs)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        scores, boxes = (None if out is None else self.readout(out) for out in super().forward(x))
        return scores, boxes


@MODELS.register_module()
class SpikeShared2FCBBoxHead(SpikeConvFCBBoxHead):
    """Two shared linear layers, as in Mask R-CNN; see :class:`SpikeConvFCBBoxHead`."""

    def __init__(self, *, fc_out_channels: int = 1024, **kwargs: Any) -> None:
        super().__init__(num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class SpikeShared4Conv1FCBBoxHead(SpikeConvFCBBoxHead):
    """Four shared convolutions and a linear layer; see :class:`SpikeConvFCBBoxHead`."""

    def __init__(self, *, fc_out_channels: int = 1024, **kwargs: Any) -> None:
        super().__init__(
            num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs
        )
