"""Hooks that see the calls of one thread only."""

from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch


def of_this_thread(hook: Callable) -> Callable:
    """``hook`` for calls by the thread that runs this line; at those of others it does nothing.

    A hook of a module is called for every call of the module, whichever thread it comes from. What
    is measured inside a block belongs to the thread that runs the block. Compiled code knows no
    thread: there the hook sees all calls.

    Args:
        hook: A hook of a module: before its forward, or after.

    Returns:
        The hook to register.
    """
    thread = get_ident()

    def own(*args: Any) -> Any:
        mine = torch.compiler.is_compiling() or get_ident() == thread
        return hook(*args) if mine else None

    return own
