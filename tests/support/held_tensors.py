"""How much an object keeps in memory."""

import gc
from types import FunctionType, ModuleType

import torch


def numbers_held_by(owner: object) -> int:
    """Numbers in all tensors that an object leads to, but not by way of classes and modules."""
    seen, waiting, numbers = set(), [owner], 0
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type | ModuleType | FunctionType):
            continue
        seen.add(id(found))
        if isinstance(found, torch.Tensor):
            numbers += found.numel()
        waiting += gc.get_referents(found)
    return numbers
