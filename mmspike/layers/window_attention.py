"""Self-attention within windows, with spiking neurons around every product."""

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from mmspike.layers.window_grid import WindowGrid, relative_positions
from mmspike.registry import MODELS


class SpikeWindowAttention(BaseModule):
    """Windowed multi-head attention of Masked Spiking Transformer (arXiv 2210.01208).

    q, k and v pass a neuron each, as do the scores ``q k^T / sqrt(d)``, the result and its
    projection. Between the neurons of scores and result stands Swin's arithmetic (arXiv
    2103.14030), which is not spiking: a learned bias for the relative position, the mask of
    shifted windows, softmax, and the sum of what it gives to the spikes of v.

    Args:
        embed_dims: Channels, a multiple of ``num_heads``.
        num_heads: Number of heads.
        window_size: Side of the windows, in tokens.
        shifted: Whether the windows are shifted by half of their side.
        neuron_cfg: Config of the neurons.

    Raises:
        ValueError: ``embed_dims`` is not a multiple of ``num_heads``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        *,
        window_size: int,
        shifted: bool,
        neuron_cfg: dict,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dims % num_heads:
            raise ValueError(f'embed_dims={embed_dims} must be a multiple of num_heads={num_heads}')
        self.num_heads = num_heads
        self.scale = (embed_dims // num_heads) ** -0.5
        self.window_size = window_size
        self.shifted = shifted
        self.qkv = nn.Conv2d(embed_dims, 3 * embed_dims, 1)
        self.q_neuron = MODELS.build(neuron_cfg)
        self.k_neuron = MODELS.build(neuron_cfg)
        self.v_neuron = MODELS.build(neuron_cfg)
        self.map_neuron = MODELS.build(neuron_cfg)
        self.out_neuron = MODELS.build(neuron_cfg)
        self.proj = ConvModule(embed_dims, embed_dims, 1, act_cfg=neuron_cfg)
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window_size - 1) ** 2, num_heads)
        )
        self.register_buffer(
            'relative_positions', relative_positions(window_size), persistent=False
        )

    def init_weights(self) -> None:
        """Initialise the biases of the positions as Swin does."""
        super().init_weights()
        trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to the same shape."""
        height, width = x.shape[-2:]
        grid = WindowGrid(height, width, self.window_size, self.shifted)
        # Padding follows the layer, so that its tokens get no bias and never fire.
        qkv = grid.partition(self.qkv(x).permute(0, 2, 3, 1))
        q, k, v = self._heads(qkv)
        q, k, v = self.q_neuron(q), self.k_neuron(k), self.v_neuron(v)
        scores = self.map_neuron((q @ k.transpose(-2, -1)) * self.scale)
        scores = scores + self._position_bias(grid)
        mask = grid.mask(x.device)
        if mask is not None:
            scores = scores + mask.to(scores.dtype)
        context = self.out_neuron(scores.softmax(-1) @ v)
        return self.proj(self._map(context, grid))

    def _heads(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """``(N, rows, columns, h, w, 3*C)`` to three of ``(N, windows, heads, h*w, d)``."""
        n, rows, columns, h, w, _ = qkv.shape
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(5, 0, 1, 2, 6, 3, 4, 7)
        return qkv.reshape(3, n, rows * columns, self.num_heads, h * w, qkv.shape[-1]).unbind(0)

    def _position_bias(self, grid: WindowGrid) -> Tensor:
        """``(heads, h*w, h*w)``."""
        h, w = grid.window
        index = self.relative_positions[:h, :w, :h, :w].reshape(h * w, h * w)
        return self.relative_position_bias_table[index].permute(2, 0, 1)

    def _map(self, context: Tensor, grid: WindowGrid) -> Tensor:
        """``(N, windows, heads, h*w, d)`` to a map ``(N, heads*d, H, W)`` in channels_last."""
        windows = context.transpose(2, 3).flatten(3)
        windows = windows.unflatten(2, grid.window).unflatten(1, grid.counts)
        return grid.merge(windows).permute(0, 3, 1, 2)
