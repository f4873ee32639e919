"""Memory layouts: how an operator chooses that of its output, and how its kernel gets its own.

An operator takes any layout. Its output is laid out as ``torch.empty_like`` does it: as the input
where that is dense (contiguous, channels_last and other orders of the dimensions), and dense in the
order of the input's dimensions where it is not. So torch's own rule says it, for real tensors and
for symbolic ones, and nothing that a tracer records depends on the layout of an example.
"""

from collections.abc import Sequence

from torch import Tensor, empty_like, empty_strided, float32


def rows_of(dense: Tensor) -> tuple[int, ...]:
    """Strides for a kernel that runs through the steps of a sequence (T, ...).

    They are those of ``dense``, where its T steps are rows one after the other, else those of a
    contiguous tensor.

    Args:
        dense: Dense, as ``torch.empty_like`` makes it, and not empty.
    """
    steps = dense.shape[0]
    if steps == 1 or dense.stride(0) * steps == dense.numel():
        return dense.stride()
    return contiguous_strides(dense.shape)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a contiguous tensor of this shape."""
    strides, stride = [], 1
    for size in reversed(shape):
        strides.append(stride)
        stride *= size
    return tuple(reversed(strides))


def laid_out(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return ``x`` with these strides, copied only if it has others."""
    return x if x.stride() == strides else room_for(x, strides).copy_(x)


def room_for(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return ``x`` if it has these strides, else unwritten memory of its kind that has them."""
    if x.stride() == strides:
        return x
    return empty_strided(x.shape, strides, dtype=x.dtype, device=x.device)


def state_of(out: Tensor) -> Tensor:
    """Unwritten membrane (...) in float32 for a sequence (T, ...), laid out like one step of it."""
    return empty_like(out[0], dtype=float32)
