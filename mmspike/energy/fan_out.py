"""How many connections leave each input of a layer.

A spike is one addition for each of them. In a convolution most inputs are in as many windows as the
kernel has positions; those near a border are in fewer, and a stride leaves some out. Axes are
independent of each other, so that a count per axis is enough: the connections of an input are the
product over the axes, times the output channels of its group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from torch import Size, Tensor


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a convolution.

    Attributes:
        size: Input positions.
        kernel: Kernel positions.
        stride, dilation: As in torch.
        before, after: Zeros added on either side; of a transposed convolution, outputs cut off.
        transposed: Whether it is a transposed convolution.
        extra: Output positions added at the end (``output_padding``).
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    transposed: bool = False
    extra: int = 0

    @property
    def outputs(self) -> int:
        """Number of output positions."""
        reach = self.dilation * (self.kernel - 1) + 1
        if self.transposed:
            cut = self.before + self.after
            return max((self.size - 1) * self.stride + reach - cut + self.extra, 0)
        return max((self.size + self.before + self.after - reach) // self.stride + 1, 0)

    @property
    def pointwise(self) -> bool:
        """Whether every input is connected to the output of its own position and to no other."""
        return (self.kernel, self.stride, self.before, self.after, self.extra) == (1, 1, 0, 0, 0)


@lru_cache(maxsize=4096)
def axis_fan_out(axis: Axis) -> np.ndarray:
    """Output positions that each input position is connected to, ``(size,)``, int64."""
    steps = axis.dilation * np.arange(axis.kernel)
    if axis.transposed:
        reached = axis.stride * np.arange(axis.size)[:, None] + steps - axis.before
        return ((reached >= 0) & (reached < axis.outputs)).sum(1)
    seen: np.ndarray = (
        axis.stride * np.arange(axis.outputs)[:, None] + steps - axis.before
    ).ravel()
    seen = seen[(seen >= 0) & (seen < axis.size)]
    return np.bincount(seen, minlength=axis.size)


@dataclass(frozen=True, kw_only=True)
class Connections:
    """The connections between inputs and outputs of a layer with weights.

    Attributes:
        axes: The spatial axes; none of a linear layer.
        channel_dim: Where the channels of the input stand.
        outputs_per_input: Output channels that an input channel is connected to.
        macs: Multiplications and additions (MACs) of the layer on the whole input, as they are
            counted by convention: a window at a border counts the zeros in it as well.
        weights: Number of weights.
        outputs: Number of outputs on the whole input.
        kernel: Size of the kernel, such as ``'3x3'``, or ``'7x7 /64'`` with 64 groups; empty of a
            linear layer.
        output_shape: Shape of the output without the batch.
    """

    axes: tuple[Axis, ...]
    channel_dim: int
    outputs_per_input: int
    macs: int
    weights: int
    outputs: int
    kernel: str = ''
    output_shape: tuple[int, ...] = ()

    @property
    def uniform(self) -> bool:
        """Whether all inputs have the same number of connections."""
        return all(axis.pointwise for axis in self.axes)


def connections(name: str, args: tuple, kwargs: dict) -> Connections:
    """Read the arguments of a layer with weights.

    See :data:`~mmspike.execution.torch_functions.WEIGHT_LAYERS`.
    """
    return _read(
        name,
        tuple(_shape_of(x) for x in args),
        tuple((key, _shape_of(x)) for key, x in kwargs.items()),
    )


def _shape_of(argument: Any) -> Any:
    """The shape of a tensor; other options unchanged, or as hashable values."""
    if isinstance(argument, Tensor):
        return argument.shape
    return tuple(argument) if isinstance(argument, list) else argument


@lru_cache(maxsize=4096)
def _read(name: str, args: tuple, kwargs: tuple) -> Connections:
    return _READERS[name](*args, **dict(kwargs))


def _linear(input: Size, weight: Size, bias: Size | None = None) -> Connections:
    outputs = weight[0] if len(weight) > 1 else 1
    return Connections(
        axes=(),
        channel_dim=len(input) - 1,
        outputs_per_input=outputs,
        macs=input.numel() * outputs,
        weights=weight.numel(),
        outputs=input[:-1].numel() * outputs,
        output_shape=(*input[1:-1], outputs),
    )


def _reader(dims: int) -> Callable[..., Connections]:
    def read(
        input: Size,
        weight: Size,
        bias: Size | None = None,
        stride: int | tuple = 1,
        padding: int | tuple | str = 0,
        dilation: int | tuple = 1,
        groups: int = 1,
    ) -> Connections:
        kernel, sizes = weight[2:], input[-dims:]
        stride, dilation = _each(stride, dims), _each(dilation, dims)
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if padding == 'same':
            # Of an odd number, the end gets one more.
            pads = [(r // 2, r - r // 2) for r in reach]
        elif isinstance(padding, str):  # 'valid'
            pads = [(0, 0)] * dims
        else:
            pads = [(p, p) for p in _each(padding, dims)]
        axes = tuple(
            Axis(size, k, s, d, *pad)
            for size, k, s, d, pad in zip(sizes, kernel, stride, dilation, pads, strict=True)
        )
        samples = input[0] if len(input) > dims + 1 else 1
        windows = samples * prod(axis.outputs for axis in axes)
        return Connections(
            axes=axes,
            channel_dim=len(input) - dims - 1,
            outputs_per_input=weight[0] // groups,
            macs=windows * weight.numel(),
            weights=weight.numel(),
            outputs=windows * weight[0],
            kernel=_kernel_name(kernel, groups),
            output_shape=(weight[0], *(axis.outputs for axis in axes)),
        )

    return read


def _transposed_reader(dims: int) -> Callable[..., Connections]:
    def read(
        input: Size,
        weight: Size,
        bias: Size | None = None,
        stride: int | tuple = 1,
        padding: int | tuple = 0,
        output_padding: int | tuple = 0,
        groups: int = 1,
        dilation: int | tuple = 1,
    ) -> Connections:
        options = (stride, dilation, padding, output_padding)
        axes = tuple(
            Axis(size, k, s, d, p, p, True, extra)
            for size, k, s, d, p, extra in zip(
                input[-dims:],
                weight[2:],
                *(_each(option, dims) for option in options),
                strict=True,
            )
        )
        outputs = weight[1]
        samples = input[0] if len(input) > dims + 1 else 1
        return Connections(
            axes=axes,
            channel_dim=len(input) - dims - 1,
            outputs_per_input=outputs,
            macs=input.numel() * outputs * prod(weight[2:]),
            weights=weight.numel(),
            outputs=samples * outputs * groups * prod(axis.outputs for axis in axes),
            kernel=_kernel_name(weight[2:], groups),
            output_shape=(outputs * groups, *(axis.outputs for axis in axes)),
        )

    return read


def _kernel_name(kernel: Size, groups: int) -> str:
    return 'x'.join(map(str, kernel)) + (f' /{groups}' if groups > 1 else '')


def _each(value: int | tuple, dims: int) -> tuple:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


_READERS = {
    'linear': _linear,
    **{f'conv{n}d': _reader(n) for n in (1, 2, 3)},
    **{f'conv_transpose{n}d': _transposed_reader(n) for n in (1, 2, 3)},
}
