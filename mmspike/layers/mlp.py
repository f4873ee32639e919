"""Channel MLP on spikes."""

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from mmspike.layers.conv import spike_conv


class SpikeMLP(BaseModule):
    """Two 1x1 convolutions, each after a neuron and before a norm.

    Args:
        embed_dims: Input and output channels.
        ratio: Hidden width over ``embed_dims``.
        neuron_cfg: Config of the neurons.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self, embed_dims: int, *, ratio: int = 4, neuron_cfg: dict, norm_cfg: dict
    ) -> None:
        super().__init__()
        cfgs: dict[str, Any] = dict(neuron_cfg=neuron_cfg, norm_cfg=norm_cfg, bias=True)
        self.fc1 = spike_conv(embed_dims, embed_dims * ratio, **cfgs)
        self.fc2 = spike_conv(embed_dims * ratio, embed_dims, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        return self.fc2(self.fc1(x))
