"""The costs of torch's functions: one rule per function.

A rule takes the arguments of one call and returns its :class:`Work`, or None where there is nothing
to count. To count another function, add its rule to :data:`RULES`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mmspike.energy.fan_out import Axis, Connections, axis_fan_out, connections
from mmspike.execution.spike_train import SpikeTrain
from mmspike.execution.torch_functions import MASKS, PRODUCTS, WEIGHT_LAYERS
from mmspike.recorders.spike_sums import SpikeSums, sum_spikes


@dataclass(kw_only=True, slots=True)
class Work:
    """The operations of one call.

    Attributes:
        kind: Its name in tables.
        macs: MACs by convention, whatever the input is.
        x: The spikes that it takes; None of a call on real numbers.
        spikes: How many these are, a number on the device.
        connected: Over all spikes, the positions that each is connected to; on the device.
        repeats: What ``connected`` is multiplied by to get synaptic operations.
        analog_inputs, outputs, weights, input_size, output_size, other_max_spikes, kernel,
            output_shape: See :class:`~mmspike.energy.LayerCount`.
    """

    kind: str
    macs: int
    x: SpikeTrain | None = None
    spikes: Tensor | None = None
    connected: Tensor | None = None
    repeats: int = 1
    analog_inputs: int = 0
    outputs: int = 0
    weights: int = 0
    input_size: int = 0
    output_size: int = 0
    other_max_spikes: int = 0
    kernel: str = ''
    output_shape: str = ''


Rule = Callable[[str, tuple, dict], Work | None]


def of_layer(function: str, args: tuple, kwargs: dict) -> Work:
    """A layer with weights: every spike times the connections that leave its neuron."""
    if not args:
        kwargs = dict(kwargs)
        args = (kwargs.pop('input'),)
    x = args[0]
    links = connections(function, args, kwargs)
    batched = links.channel_dim > 0
    sizes: dict[str, Any] = dict(
        outputs=links.outputs,
        weights=links.weights,
        input_size=of_one(x, x.numel()) if batched else x.numel(),
        output_size=of_one(x, links.outputs) if batched else links.outputs,
        kernel=links.kernel,
        output_shape=shown(links.output_shape),
    )
    if not isinstance(x, SpikeTrain):
        return Work(kind=function, macs=links.macs, analog_inputs=x.numel(), **sizes)
    spikes, connected = _spikes_and_connections(x, links)
    return Work(
        kind=function, macs=links.macs, x=x, spikes=spikes, connected=connected,
        repeats=links.outputs_per_input, **sizes,
    )  # fmt: skip


def _spikes_and_connections(x: SpikeTrain, links: Connections) -> tuple[Tensor, Tensor]:
    """The number of spikes, and the sum of their connections."""
    if links.uniform:
        return sums_of(x).total, sums_of(x).total
    if links.channel_dim:
        connected, spikes = sums_of(x).maps.sum(0), sums_of(x).total
    else:  # without a batch the channels come first
        connected = sum_spikes(x.plain(), 0, x.spike_value)
        spikes = connected.sum()
    for axis in reversed(links.axes):
        connected = connected @ fan_out_on(axis, x.device)
    return spikes, connected


@lru_cache(maxsize=4096)
def fan_out_on(axis: Axis, device: torch.device) -> Tensor:
    """Fan-outs along an axis, float64 ``(size,)`` on a device; kept for all counters."""
    return torch.from_numpy(axis_fan_out(axis)).to(device, torch.float64)


def of_product(function: str, args: tuple, kwargs: dict) -> Work:
    """A matrix product, such as those of an attention.

    Spikes of the left side select rows of the right one. The right side selects only where the left
    one does not spike. Spike-driven execution does it in this way.
    """
    left, right = (*args, *kwargs.values())[:2]
    if function == '__rmatmul__':
        left, right = right, left
    inner = left.shape[-1]
    rows = left.shape[-2] if left.dim() > 1 else 1
    columns = right.shape[-1] if right.dim() > 1 else 1
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2]).numel()
    if isinstance(left, SpikeTrain):
        side, additions, own = left, columns, rows * inner
    elif isinstance(right, SpikeTrain):
        side, additions, own = right, rows, inner * columns
    else:
        side = left
    other = right if side is left else left
    outputs = batch * rows * columns
    sizes: dict[str, Any] = dict(
        macs=batch * rows * inner * columns,
        outputs=outputs,
        weights=of_one(other, other.numel()),
        input_size=of_one(side, side.numel()),
        output_size=of_one(side, outputs),
        other_max_spikes=most_of(other),
        output_shape=shown(
            (*torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])[1:], rows, columns)
        ),
    )
    if not isinstance(side, SpikeTrain):
        return Work(kind='product', analog_inputs=side.numel(), **sizes)
    spikes = sums_of(side).total
    repeats = batch * own // side.numel() if side.numel() else 0
    return Work(
        kind='product', x=side, spikes=spikes, connected=spikes, repeats=additions * repeats,
        **sizes,
    )  # fmt: skip


def of_mask(function: str, args: tuple, kwargs: dict) -> Work | None:
    """A product of spikes element by element: one operation for each spike of the larger side.

    Those that pass are seen where they go. The published cost of such a product of two maps takes
    the firing rates of both.
    """
    if len(args) != 2 or not all(isinstance(x, SpikeTrain) for x in args):
        return None
    left, right = args
    macs = torch.broadcast_shapes(left.shape, right.shape).numel()
    side, other = (left, right) if left.numel() >= right.numel() else (right, left)
    looked_at = sums_of(side).total
    spikes = looked_at + sums_of(other).total if other.shape == side.shape else looked_at
    repeats = macs // side.numel() if side.numel() else 0
    return Work(
        kind='mask', macs=macs, x=side, spikes=spikes, connected=looked_at, repeats=repeats,
        other_max_spikes=most_of(other), output_shape=shown(side.shape[1:]), outputs=macs,
    )  # fmt: skip


def of_sum(function: str, args: tuple, kwargs: dict) -> Work | None:
    """A sum of spikes along some dimensions: one addition for each spike.

    The MACs of the product before it hold it already. A sum over everything is a number for
    somebody who looks, and not a part of a network.
    """
    x = args[0]
    if not isinstance(x, SpikeTrain) or (len(args) < 2 and 'dim' not in kwargs):
        return None
    dims = args[1] if len(args) > 1 else kwargs['dim']
    if dims is None:
        dims = range(x.dim())
    added = math.prod(x.shape[dim] for dim in ([dims] if isinstance(dims, int) else dims))
    spikes = sums_of(x).total
    return Work(
        kind='sum', macs=0, x=x, spikes=spikes, connected=spikes, outputs=x.numel() // max(added, 1)
    )


RULES: dict[str, Rule] = {
    **dict.fromkeys(WEIGHT_LAYERS, of_layer),
    **dict.fromkeys(PRODUCTS, of_product),
    **dict.fromkeys(MASKS, of_mask),
    'sum': of_sum,
}
# Functions that multiply as well. There is no rule for their cost on spikes.
UNCOUNTED = frozenset(
    ('addbmm', 'addmm', 'addmv', 'addr', 'baddbmm', 'bilinear', 'cdist', 'chain_matmul',
     'conv_tbc', 'dot', 'einsum', 'ger', 'gru', 'gru_cell', 'inner', 'kron', 'linalg_multi_dot',
     'linalg_vecdot', 'lstm', 'lstm_cell', 'multi_head_attention_forward', 'mv', 'outer',
     'quantized_lstm', 'rnn_relu', 'rnn_relu_cell', 'rnn_tanh', 'rnn_tanh_cell',
     'scaled_dot_product_attention', 'tensordot', 'vdot')
)  # fmt: skip
# They work on real numbers, and spiking hardware may not have them: listed, not counted.
REAL_FUNCTIONS = frozenset(('softmax', 'layer_norm'))


def of_one(batch: Tensor, numbers: int) -> int:
    """How many of the numbers that belong to a batch ``(T*B, ...)`` belong to a sample and step."""
    return numbers // max(batch.shape[0], 1) if batch.dim() > 1 else numbers


def most_of(x: Tensor) -> int:
    """The most spikes of one number in one time step; 0 of real numbers."""
    return x.max_spikes if isinstance(x, SpikeTrain) else 0


def shown(shape: Iterable[int]) -> str:
    """A shape in words.

    >>> shown((64, 56, 56))
    '64x56x56'
    """
    return 'x'.join(map(str, shape))


def sums_of(train: SpikeTrain) -> SpikeSums:
    """Spikes of one train, counted once however many layers take it."""
    # Tensors of inference mode do not know their version.
    version = None if train.is_inference() else train._version
    counted, sums = getattr(train, '_counted', (None, None))
    if sums is None or version is None or counted != version:
        sums = SpikeSums(train.plain(), train.spike_value)
        train._counted = (version, sums)
    return sums
