"""Two convolutions on spikes behind one on the image."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from mmspike.backbones.base import StagedBackbone
from mmspike.layers import spike_conv
from mmspike.registry import MODELS


@MODELS.register_module()
class Toy(StagedBackbone):
    """Three stages of one convolution each.

    Args:
        width: Channels of the first stage; each further stage doubles them.
        in_channels: Channels of the input.
        timesteps: Number of time steps T.
        out_indices: Stages to return.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
        readout, frozen_stages, norm_eval, with_cp, init_cfg: See
            :class:`~mmspike.backbones.base.StagedBackbone`.
    """

    def __init__(
        self,
        width: int = 8,
        *,
        in_channels: int = 3,
        timesteps: int = 2,
        out_indices: tuple[int, ...] = (-1,),
        neuron_cfg: dict = dict(type='mmspike.LIF'),
        norm_cfg: dict = dict(type='BN'),
        readout: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        widths = (width, 2 * width, 4 * width)
        cfgs: dict[str, Any] = dict(norm_cfg=norm_cfg, stride=2)

        def stages() -> Iterator[nn.Module]:
            yield spike_conv(in_channels, widths[0], 3, neuron_cfg=None, **cfgs)
            for i in (1, 2):
                yield spike_conv(widths[i - 1], widths[i], 3, neuron_cfg=neuron_cfg, **cfgs)

        super().__init__(
            stages(),
            widths,
            (2, 4, 8),
            in_channels=in_channels,
            timesteps=timesteps,
            out_indices=out_indices,
            readout=readout,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
