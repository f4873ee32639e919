"""Spike-driven self-attention of SDT v1: masks and additions, no matrix product."""

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.functional import max_pool2d

from mmspike.layers.conv import spike_conv
from mmspike.neurons.binary import BinaryNeuron
from mmspike.registry import MODELS


class SpikeDrivenSelfAttention(BaseModule):
    """Self-attention of linear cost on binary spikes (SDSA, arXiv 2307.01694).

    A neuron; 1x1 convolutions with norm and neuron for q, k and v; ``k * v``, summed over all
    tokens; a neuron, which says for each channel whether it stays; q, masked by that; a 1x1
    projection with norm. As all products are element by element, heads make no difference.

    Args:
        embed_dims: Channels.
        neuron_cfg: Config of the neurons; they have to be binary ones.
        kv_neuron_cfg: Config of the neuron behind the sum; None takes ``neuron_cfg`` with a
            threshold of 0.5, as the reference does.
        norm_cfg: Config of the norms.
        dvs_pool: Let the spikes of k and v spread to the 3x3 positions around them (the
            reference's mode for event cameras).
        legacy_dvs_pool: Pool ``k * v`` and the masked q as well, as the released code does while
            these are laid out as ``(tokens, channels of a head)``: over neighbouring tokens and
            channels. Only for weights that were trained with it.
        num_heads: Heads; they matter to ``legacy_dvs_pool`` only.

    Raises:
        ValueError: The neurons are not binary, ``legacy_dvs_pool`` comes without ``dvs_pool``, or
            ``embed_dims`` is not a multiple of ``num_heads``.
    """

    def __init__(
        self,
        embed_dims: int,
        *,
        neuron_cfg: dict,
        kv_neuron_cfg: dict | None = None,
        norm_cfg: dict,
        dvs_pool: bool = False,
        legacy_dvs_pool: bool = False,
        num_heads: int = 8,
    ) -> None:
        super().__init__()
        if legacy_dvs_pool and not dvs_pool:
            raise ValueError('legacy_dvs_pool=True adds to dvs_pool=True, which is not set')
        if num_heads < 1 or embed_dims % num_heads:
            raise ValueError(f'embed_dims={embed_dims} must be a multiple of num_heads={num_heads}')
        self.dvs_pool = dvs_pool
        self.legacy_dvs_pool = legacy_dvs_pool
        self.head_dims = embed_dims // num_heads

        def projection() -> ConvModule:
            return ConvModule(embed_dims, embed_dims, 1, norm_cfg=norm_cfg, act_cfg=neuron_cfg)

        self.neuron = _binary_neuron(neuron_cfg)
        self.q = projection()
        self.k = projection()
        self.v = projection()
        self.kv_neuron = _binary_neuron(kv_neuron_cfg or dict(neuron_cfg, threshold=0.5))
        self.out = spike_conv(embed_dims, embed_dims, neuron_cfg=None, norm_cfg=norm_cfg, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        spikes = self.neuron(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        if self.dvs_pool:
            k, v = max_pool2d(k, 3, 1, 1), max_pool2d(v, 3, 1, 1)
        kv = k * v
        if self.legacy_dvs_pool:
            kv = self.pool_tokens(kv)
        out = q * self.kv_neuron(kv.sum((2, 3), keepdim=True))
        if self.legacy_dvs_pool:
            out = self.pool_tokens(out)
        return self.out(out)

    def pool_tokens(self, x: Tensor) -> Tensor:
        """Max-pool ``(T*B, C, H, W)`` over 3 tokens x 3 channels of a head."""
        heads = x.flatten(2).unflatten(1, (-1, self.head_dims)).transpose(-2, -1)
        return max_pool2d(heads, 3, 1, 1).transpose(-2, -1).reshape(x.shape)


def _binary_neuron(cfg: dict) -> BinaryNeuron:
    neuron = MODELS.build(cfg)
    if not isinstance(neuron, BinaryNeuron):
        raise ValueError(
            'spike-driven self-attention masks spikes with spikes and needs binary neurons '
            f'(IF, LIF, PLIF), got {cfg}'
        )
    return neuron
