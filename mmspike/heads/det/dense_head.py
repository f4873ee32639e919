"""The common base of spiking one-stage heads and the RPN."""

from typing import Any

from mmspike.layers import NeuronInit
from mmspike.temporal import TemporalModule, init_timesteps


class SpikingDenseHead(NeuronInit, TemporalModule):
    """Mixin in front of a dense head of mmdet, which builds its layers in ``_init_layers``.

    Args:
        timesteps: Number of time steps T, the same as the backbone's; None for one step behind a
            ``readout``.
        neuron_cfg: Config of the neurons.
        **kwargs: See the parent head.
    """

    def __init__(
        self,
        *args: Any,
        timesteps: int | None = 1,
        neuron_cfg: dict = dict(type='mmspike.SFA', D=4, norm=1),
        **kwargs: Any,
    ) -> None:
        self.neuron_cfg = neuron_cfg  # needed while the parent builds its layers
        super().__init__(*args, **kwargs)
        init_timesteps(self, timesteps)
