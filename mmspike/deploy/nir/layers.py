"""Layers and nodes without memory: which is which, in both directions.

Writers take a module and the shape of its input without the batch, ``(C, H, W)``. Readers take a
node. Both raise a ValueError that says what the other side cannot express.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn
from torch.nn.utils import skip_init

from mmspike.deploy.nir.library import nir
from mmspike.deploy.nir.numbers import to_array, to_tensor
from mmspike.deploy.nir.pointwise import Scale, Threshold

Shape = tuple[int, ...]


def write_conv(layer: nn.Conv1d | nn.Conv2d, shape: Shape) -> nir.NIRNode:
    """A convolution; a missing bias becomes zeros."""
    if layer.padding_mode != 'zeros':
        raise ValueError(f"NIR pads with zeros, not with padding_mode='{layer.padding_mode}'")
    weight = to_array(layer.weight)
    bias = np.zeros_like(weight[:, 0].reshape(len(weight), -1)[:, 0])
    numbers = dict(
        weight=weight,
        bias=bias if layer.bias is None else to_array(layer.bias),
        groups=layer.groups,
    )
    window = dict(stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    if isinstance(layer, nn.Conv2d):
        return nir.Conv2d(input_shape=shape[1:], **window, **numbers)
    single = {key: x if isinstance(x, str) else x[0] for key, x in window.items()}
    return nir.Conv1d(input_shape=shape[1], **single, **numbers)


def read_conv(node: nir.NIRNode) -> nn.Module:
    """A convolution; a bias of zeros is left out."""
    kind, dimensions = (nn.Conv2d, 2) if isinstance(node, nir.Conv2d) else (nn.Conv1d, 1)
    weight = np.asarray(node.weight)
    if weight.ndim != dimensions + 2:
        raise ValueError(f'its weight must have {dimensions + 2} dimensions, got {weight.shape}')
    groups = int(node.groups)
    padding = node.padding if isinstance(node.padding, str) else _ints(node.padding, dimensions)
    bias = np.asarray(node.bias)
    return _filled(
        skip_init(
            kind,
            weight.shape[1] * groups,
            weight.shape[0],
            weight.shape[2:],
            stride=_ints(node.stride, dimensions),
            padding=padding,
            dilation=_ints(node.dilation, dimensions),
            groups=groups,
            bias=bool(bias.any()),
        ),
        weight,
        bias,
    )


def write_linear(layer: nn.Linear, shape: Shape) -> nir.NIRNode:
    """A linear layer on vectors ``(N,)``."""
    if len(shape) != 1:
        raise ValueError(f'linear layers of NIR take vectors, not maps {shape}: flatten them first')
    if layer.bias is None:
        return nir.Linear(weight=to_array(layer.weight))
    return nir.Affine(weight=to_array(layer.weight), bias=to_array(layer.bias))


def read_linear(node: nir.NIRNode) -> nn.Module:
    """A linear layer, with a bias for ``nir.Affine``."""
    weight = np.asarray(node.weight)
    if weight.ndim != 2:
        raise ValueError(f'its weight must have 2 dimensions, got shape {weight.shape}')
    bias = getattr(node, 'bias', None)
    layer = skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None)
    return _filled(layer, weight, bias)


def write_pool(pool: nn.AvgPool2d, shape: Shape) -> nir.NIRNode:
    """An average pool, or a sum pool if ``divisor_override=1``."""
    if pool.ceil_mode:
        raise ValueError('NIR has no pools with ceil_mode=True')
    if pool.divisor_override not in (None, 1):
        raise ValueError(f'NIR has no pools with divisor_override={pool.divisor_override}')
    padding = _ints(pool.padding, 2)
    if any(padding) and not pool.count_include_pad:
        raise ValueError('pools of NIR count their padding, this one has count_include_pad=False')
    kind = nir.SumPool2d if pool.divisor_override else nir.AvgPool2d
    return kind(*(np.array(_ints(x, 2)) for x in (pool.kernel_size, pool.stride, padding)))


def write_adaptive_pool(pool: nn.AdaptiveAvgPool2d, shape: Shape) -> nir.NIRNode:
    """An average pool with windows of equal size."""
    size, wanted = np.array(shape[1:]), _ints(pool.output_size, 2)
    if (size % wanted).any():
        raise ValueError(f'its windows differ: {size.tolist()} is no multiple of {wanted}')
    return nir.AvgPool2d(size // wanted, size // wanted, np.zeros(2, dtype=int))


def read_pool(node: nir.NIRNode) -> nn.Module:
    """An average pool; a sum pool is one that divides by 1."""
    windows: list[Any] = [_ints(x, 2) for x in (node.kernel_size, node.stride, node.padding)]
    divisor = 1 if isinstance(node, nir.SumPool2d) else None
    return nn.AvgPool2d(windows[0], windows[1], windows[2], divisor_override=divisor)


def write_flatten(layer: nn.Flatten, shape: Shape) -> nir.NIRNode:
    """``nir.Flatten`` does not count the batch dimension."""
    if layer.start_dim == 0:
        raise ValueError('NIR has no batch dimension that could be flattened')
    start, end = (x - 1 if x > 0 else x for x in (layer.start_dim, layer.end_dim))
    return nir.Flatten({'input': np.array(shape)}, start, end)


def read_flatten(node: nir.NIRNode) -> nn.Module:
    """The same dimensions, with the batch before them."""
    start, end = (int(x) + 1 if x >= 0 else int(x) for x in (node.start_dim, node.end_dim))
    return nn.Flatten(start, end)


def write_scale(layer: Scale, shape: Shape) -> nir.NIRNode:
    """One factor per number of the map."""
    return nir.Scale(np.broadcast_to(to_array(layer.scale), shape).copy())


def write_threshold(layer: Threshold, shape: Shape) -> nir.NIRNode:
    """One threshold per number of the map."""
    return nir.Threshold(np.broadcast_to(to_array(layer.threshold), shape).copy())


def _ints(value: Any, length: int) -> tuple[int, ...]:
    """The sizes of a window: a number for all dimensions, or one for each."""
    numbers = np.asarray(value).ravel().tolist()
    if len(numbers) not in (1, length):
        raise ValueError(f'it has {length} dimensions, but {numbers} has {len(numbers)}')
    return tuple(int(x) for x in (numbers if len(numbers) == length else numbers * length))


def _filled(layer: nn.Module, weight: np.ndarray, bias: Any) -> nn.Module:
    """The layer with these weights, as float32."""
    for name, array in (('weight', weight), ('bias', bias)):
        parameter = getattr(layer, name)
        if parameter is not None:
            if np.shape(array) != tuple(parameter.shape):
                raise ValueError(
                    f'its {name} must have shape {tuple(parameter.shape)}, got {np.shape(array)}'
                )
            parameter.data = to_tensor(array).expand_as(parameter).clone()
    return layer


# Exact classes: a subclass may compute something else.
WRITERS: dict[type, Callable[[Any, Shape], nir.NIRNode]] = {
    nn.AdaptiveAvgPool2d: write_adaptive_pool,
    nn.AvgPool2d: write_pool,
    nn.Conv1d: write_conv,
    nn.Conv2d: write_conv,
    nn.Flatten: write_flatten,
    nn.Linear: write_linear,
    Scale: write_scale,
    Threshold: write_threshold,
}
READERS: dict[type, Callable[[Any], nn.Module]] = {
    nir.Affine: read_linear,
    nir.AvgPool2d: read_pool,
    nir.Conv1d: read_conv,
    nir.Conv2d: read_conv,
    nir.Flatten: read_flatten,
    nir.Linear: read_linear,
    nir.Scale: lambda node: Scale(node.scale),
    nir.SumPool2d: read_pool,
    nir.Threshold: lambda node: Threshold(node.threshold),
}
