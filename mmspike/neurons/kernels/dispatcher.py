"""The conditions for bypassing torch's dispatcher.

An operator's way through the dispatcher takes 20 us, and with the caches full of maps 150 us: as
long as the kernel of a small map. With a gradient it takes 400 us, forward and backward. Nothing
else happens on it, unless somebody watches. Whether that is so is asked of private parts of torch,
here alone. Where a version of torch lacks one of them, every call takes the dispatcher.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

# The keys of plain tensors, and of what torch does beside an operator without changing its values.
# Lazily negated views, zeros without memory, sparse, quantised and fake tensors, tensors of
# functorch and of tracers, and modes that see every operator have others.
PLAIN_KEYS = (
    *('Dense', 'CPU', 'CUDA', 'BackendSelect', 'ADInplaceOrView'),
    *('AutogradFunctionality', 'AutogradCPU', 'AutogradCUDA', 'AutocastCPU', 'AutocastCUDA'),
)

_keys_of: Any = getattr(torch._C, '_dispatch_keys', None)
_keys_of_thread: Any = getattr(torch._C, '_dispatch_tls_local_include_set', None)
_function_modes: Any = getattr(torch._C, '_len_torch_function_stack', None)
_function_modes_off: Any = getattr(torch._C, '_is_torch_function_all_disabled', None)
_profiling: Any = getattr(torch.autograd, '_profiler_enabled', None)


def _other_keys() -> int | None:
    """The bits of all keys that are not plain; None where this torch does not say."""
    key_set: Any = getattr(torch._C, 'DispatchKeySet', None)
    parts = (_keys_of, _keys_of_thread, _function_modes, _function_modes_off, _profiling)
    if None in parts or not hasattr(key_set, 'raw_repr'):
        return None
    plain = 0
    for name in PLAIN_KEYS:
        key = getattr(torch._C.DispatchKey, name, None)
        plain |= 0 if key is None else key_set(key).raw_repr()
    return ~plain


_OTHER = _other_keys()


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor's values are what lies in its memory, and nobody redefines its operators."""
    return (
        _OTHER is not None
        and type(tensor) in (Tensor, Parameter)
        and not _keys_of(tensor).raw_repr() & _OTHER
    )


def unobserved() -> bool:
    """Whether no tracer or mode of this thread needs to see a call."""
    return not (
        _OTHER is None
        or torch.compiler.is_compiling()
        or _keys_of_thread().raw_repr() & _OTHER
        or (_function_modes() and not _function_modes_off())
    )


def may_be_left_out(arguments: Iterable[object]) -> bool:
    """Whether no tracer, mode, profiler or tensor needs the dispatcher to see a call.

    Gradients are the caller's.

    Args:
        arguments: What the operator is called with; its tensors are looked at.
    """
    if not unobserved() or _profiling():
        return False
    # A loop: all() over a generator takes a microsecond longer.
    for argument in arguments:
        if isinstance(argument, Tensor) and not is_plain(argument):
            return False
    return True
