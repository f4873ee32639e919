"""Spike-driven self-attention of SDT v2 and v3: no softmax, so its products can be reordered."""

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor

from mmspike.layers.conv import spike_conv
from mmspike.registry import MODELS


def attention_product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``q k^T v``, multiplied in the order that costs less.

    Args:
        q, k: ``(..., N, d)``, N tokens.
        v: ``(..., N, e)``.

    Returns:
        ``(..., N, e)``. Spikes are multiples of one number, so that both orders agree exactly as
        long as the sums stay within the 24 bits of a float32.
    """
    if _pairs_of_tokens_first(q, v):
        return (q @ k.transpose(-2, -1)) @ v
    return q @ (k.transpose(-2, -1) @ v)


def _pairs_of_tokens_first(q: Tensor, v: Tensor) -> bool:
    tokens, d = q.shape[-2:]
    e = v.shape[-1]
    return tokens * (d + e) < 2 * d * e


def attention_product_of_channels(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """:func:`attention_product` of ``(..., d, N)`` and ``(..., e, N)``, as ``(..., e, N)``."""
    if _pairs_of_tokens_first(q.transpose(-2, -1), v.transpose(-2, -1)):
        return v @ (k.transpose(-2, -1) @ q)
    return (v @ k.transpose(-2, -1)) @ q


class SpikeAttention(BaseModule):
    """Multi-head self-attention on spikes (E-SDSA, arXiv 2411.16061).

    A neuron; convolutions with norm and neuron for q, k and v; ``q k^T v * scale``; a neuron; a
    convolution with norm. The defaults are those of SDT v3 ``Model_Base``.

    Args:
        embed_dims: Channels, a multiple of ``num_heads``.
        num_heads: Number of heads.
        value_ratio: Width of v over ``embed_dims``.
        scale: Factor of the product; None is ``2 / sqrt(d)``, d channels of a head.
        conv_cfg: Config of the four convolutions, such as
            ``dict(type='mmspike.RepConv')``; None makes ``Conv2d``.
        kernel_size: Their kernel.
        neuron_cfg: Config of the neurons.
        out_neuron_cfg: Config of the neuron behind the product; None takes ``neuron_cfg``.
        norm_cfg: Config of the norms.

    Raises:
        ValueError: ``embed_dims`` is not a multiple of ``num_heads``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        *,
        value_ratio: int = 4,
        scale: float | None = None,
        conv_cfg: dict | None = None,
        kernel_size: int = 1,
        neuron_cfg: dict,
        out_neuron_cfg: dict | None = None,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims={embed_dims} must be a multiple of num_heads={num_heads}')
        self.num_heads = num_heads
        self.scale = 2 * (embed_dims // num_heads) ** -0.5 if scale is None else scale
        value_dims = embed_dims * value_ratio
        order = ('conv', 'norm', 'act')
        cfgs: dict[str, Any] = dict(kernel_size=kernel_size, conv_cfg=conv_cfg, norm_cfg=norm_cfg)

        def projection(out_channels: int) -> ConvModule:
            return spike_conv(embed_dims, out_channels, neuron_cfg=neuron_cfg, order=order, **cfgs)

        self.neuron = MODELS.build(neuron_cfg)
        self.q = projection(embed_dims)
        self.k = projection(embed_dims)
        self.v = projection(value_dims)
        out_neuron_cfg = neuron_cfg if out_neuron_cfg is None else out_neuron_cfg
        self.out = spike_conv(value_dims, embed_dims, neuron_cfg=out_neuron_cfg, **cfgs)

    def _heads(self, x: Tensor) -> Tensor:
        """``(T*B, heads*d, H, W)`` to ``(T*B, heads, d, H*W)``."""
        return x.flatten(2).unflatten(1, (self.num_heads, -1))

    def _context(self, q: Tensor, k: Tensor, v: Tensor, like: Tensor) -> Tensor:
        """``q k^T v`` as a map in the memory format of ``like``, to spare the next layer a copy."""
        size = like.shape[-2:]
        if like.is_contiguous(memory_format=torch.channels_last):
            tokens = attention_product(*(x.transpose(-2, -1) for x in (q, k, v)))
            return tokens.transpose(1, 2).flatten(2).unflatten(1, size).movedim(-1, 1)
        return attention_product_of_channels(q, k, v).flatten(1, 2).unflatten(-1, size)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        spikes = self.neuron(x)
        q, k, v = (self._heads(branch(spikes)) for branch in (self.q, self.k, self.v))
        return self.out(self._context(q, k, v, x).mul_(self.scale))
