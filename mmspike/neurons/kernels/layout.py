"""Memory layouts that the kernels accept."""

from torch import Tensor, empty_strided


def time_outermost(x: Tensor) -> Tensor:
    """Return ``x`` (T, ...), copied only if its steps are not T dense rows one after the other.

    Within a row the order of the elements is free, so channels_last maps are taken as they are.
    """
    steps = x.shape[0]
    if x.numel() == 0:
        return x.contiguous()
    if steps > 1 and x.stride(0) * steps != x.numel():
        return x.contiguous()
    expected = 1
    for stride, size in sorted(zip(x.stride()[1:], x.shape[1:], strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return x.contiguous()
        expected *= size
    return x


def laid_out_like(x: Tensor, like: Tensor | tuple[int, ...]) -> Tensor:
    """Return ``x`` with the strides of another tensor of its shape, copied only if they differ."""
    strides = like.stride() if isinstance(like, Tensor) else like
    if x.stride() == strides:
        return x
    return empty_strided(x.shape, strides, dtype=x.dtype, device=x.device).copy_(x)
