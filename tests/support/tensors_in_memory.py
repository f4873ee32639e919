"""How much a test leaves in memory."""

import gc

import torch


def numbers_in_memory() -> int:
    """Numbers in all tensors that Python holds, but for those of before the first test."""
    gc.collect()
    return sum(x.numel() for x in gc.get_objects() if issubclass(type(x), torch.Tensor))
