"""Attention maps of a backbone, measured while a model runs.

Attention without softmax has no probabilities. What it has is a sum: position i of the block's
context is ``sum_j (q_i . k_j) v_j``. Summed over i, position j enters with the weight
``(sum_i q_i) . k_j``, the column sum of ``q k^T`` over the queries: how strongly j is attended to
by all positions together. But for constants (the scale, 1/N) it is the factor of ``v_j`` in the
mean of the context over the positions, and it takes ``q_sum @ k^T`` only, never the N x N products.
Two things it does not say: how many spikes ``v_j`` holds, and what the neuron and the projection
behind the context make of it.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mmspike.neurons import BaseNeuron
from mmspike.recorders.firing_maps import spread
from mmspike.temporal import unfold_time
from mmspike.thread_hooks import of_this_thread


@dataclass(frozen=True)
class AttentionMap:
    """The total attention to each position in one attention block.

    Attributes:
        block: Name of the block in the backbone.
        weights: Column sums of ``q k^T`` over the queries, for each time step, sample and head,
            ``(T, B, heads, h, w)``, float32, on the CPU.
        input_size: Height and width of what the backbone was given, padding included.
    """

    block: str
    weights: Tensor
    input_size: tuple[int, int]

    @property
    def stride(self) -> int:
        """Pixels of the backbone's input per position of the map."""
        return round(self.input_size[0] / self.weights.shape[-2])

    def relative(self) -> Tensor:
        """Mean over the heads, relative to uniform attention, ``(T, B, h, w)``.

        An even share is the mean over the time steps and positions of a sample: 1 everywhere says
        that all are attended to alike. A block whose q and k never meet has zeros.
        """
        heads = self.weights.mean(dim=2)
        even = heads.mean(dim=(0, 2, 3), keepdim=True)
        return torch.where(even > 0, heads / even, 0.0)

    def on_image(self, height: int, width: int, index: int = 0) -> Tensor:
        """:meth:`relative` of one sample, as large as its image.

        Args:
            height: Height of the image before the hosts padded it at the bottom and at the right.
            width: Its width.
            index: Which sample.

        Returns:
            ``(T, height, width)``; every position of the map is a block of equal pixels.

        Raises:
            ValueError: The image is larger than what the backbone was given.
        """
        if height > self.input_size[0] or width > self.input_size[1]:
            raise ValueError(
                f'an image of {height}x{width} pixels does not lie within the input of '
                f'{self.input_size[0]}x{self.input_size[1]}'
            )
        steps = self.relative()[:, index]
        return torch.stack([spread(one, self.input_size)[:height, :width] for one in steps])


def column_sums(q: Tensor, k: Tensor) -> Tensor:
    """Column sums of ``q k^T`` over the queries, without the N x N products.

    Args:
        q, k: ``(..., N, d)``, N tokens.

    Returns:
        ``(..., N)``, float32.
    """
    query_sum = q.sum(dim=-2, keepdim=True, dtype=torch.float32)
    return (query_sum @ k.float().transpose(-2, -1)).squeeze(-2)


def attention_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The spiking attention blocks of a model's backbone, by name.

    They are :class:`~mmspike.layers.SpikeAttention`, and every module that has ``num_heads`` and
    parts ``q``, ``k`` and ``v`` of which each holds a neuron and gives maps ``(T*B, heads*d, H,
    W)``. A model without ``backbone`` is taken as one.
    """
    backbone = getattr(model, 'backbone', model)
    return {
        name: module
        for name, module in backbone.named_modules()
        if hasattr(module, 'num_heads')
        and all(_last_neuron(getattr(module, branch, None)) for branch in 'qkv')
    }


def _last_neuron(branch: object) -> BaseNeuron | None:
    parts = branch.modules() if isinstance(branch, nn.Module) else ()
    neurons = [part for part in parts if isinstance(part, BaseNeuron)]
    return neurons[-1] if neurons else None


class AttentionMapRecorder:
    """Record what every spiking attention block of a backbone attends to, for all images run.

    Args:
        model: A model with a ``backbone``, or a backbone.

    Raises:
        ValueError: The backbone has no spiking attention block.

    Example:
        >>> import torch
        >>> from mmspike.backbones import MetaSpikformer
        >>> net = MetaSpikformer('tiny').eval()
        >>> with AttentionMapRecorder(net) as recorder, torch.no_grad():
        ...     _ = net(torch.rand(2, 3, 64, 64))
        >>> [(m.block, m.stride, tuple(m.weights.shape)) for m in recorder.maps()][-1]
        ('stages.4.blocks.1.attn', 16, (1, 2, 8, 4, 4))
    """

    def __init__(self, model: nn.Module) -> None:
        self._backbone = getattr(model, 'backbone', model)
        self._blocks = attention_blocks(model)
        if not self._blocks:
            raise ValueError(f'{type(self._backbone).__name__} has no spiking attention to record')
        self._input_size = (0, 0)
        self._running = False
        # What q and k of the block that runs gave.
        self._spikes: dict[str, Tensor] = {}
        self._weights: dict[str, list[Tensor]] = {name: [] for name in self._blocks}
        self._handles: list = []

    def __enter__(self) -> 'AttentionMapRecorder':
        hooks = [
            self._backbone.register_forward_pre_hook(of_this_thread(self._begin)),
            self._backbone.register_forward_hook(of_this_thread(self._end)),
        ]
        for name, block in self._blocks.items():
            hooks.append(
                block.get_submodule('q').register_forward_hook(of_this_thread(self._keeper('q')))
            )
            hooks.append(
                block.get_submodule('k').register_forward_hook(of_this_thread(self._keeper('k')))
            )
            hooks.append(block.register_forward_hook(of_this_thread(self._summer(name))))
        self._handles = hooks
        return self

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._spikes.clear()
        self._running = False

    def _begin(self, backbone: nn.Module, inputs: tuple) -> None:
        size = tuple(inputs[0].shape[-2:])
        if any(self._weights.values()) and size != self._input_size:
            raise ValueError(
                f'attention maps of inputs of different size, {self._input_size} and {size}, '
                'cannot be recorded together'
            )
        self._input_size = size
        # Blocks that run later are recomputed for the backward pass.
        self._running = True

    def _end(self, backbone: nn.Module, inputs: tuple, out: object) -> None:
        self._running = False

    def _keeper(self, branch: str):
        def keep(module: nn.Module, inputs: tuple, out: Tensor) -> None:
            if self._running:
                self._spikes[branch] = out.detach()

        return keep

    def _summer(self, name: str):
        @torch.no_grad()
        def add_up(block: nn.Module, inputs: tuple, out: object) -> None:
            if not self._running:
                return
            spikes = self._spikes.pop('q'), self._spikes.pop('k')
            # (T*B, heads*d, H, W) to (T*B, heads, H*W, d)
            q, k = (x.flatten(2).unflatten(1, (block.num_heads, -1)).mT for x in spikes)
            weights = column_sums(q, k).unflatten(-1, spikes[1].shape[-2:])
            neuron = cast(BaseNeuron, _last_neuron(block.q))
            self._weights[name].append(unfold_time(weights, neuron.timesteps))

        return add_up

    def maps(self) -> list[AttentionMap]:
        """Maps so far, in the order of the backbone; those of later runs follow along B.

        A block that never ran is left out.
        """
        return [
            AttentionMap(name, torch.cat(weights, dim=1).cpu(), self._input_size)
            for name, weights in self._weights.items()
            if weights
        ]
