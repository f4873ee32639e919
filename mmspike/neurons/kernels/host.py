"""The host library: loading it and calling it."""

import ctypes
import ctypes.util
import platform
import re
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

_FOLDER = Path(__file__).parent
# Instruction sets with a library of their own, best first: name -> CPU flags it needs.
VARIANTS = {'avx2': {'avx2', 'fma', 'f16c', 'bmi2'}, 'baseline': set()}
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
SURROGATES = {'sigmoid': 0, 'atan': 1, 'rectangular': 2, 'triangular': 3}
# Below so many elements a second thread costs more than it saves.
SINGLE_THREAD = 1 << 16


class BinaryOptions(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [(name, ctypes.c_float) for name in ('constant', 'threshold', 'v_reset', 'alpha')]


class IntegerOptions(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [(name, ctypes.c_float) for name in ('D', 'norm', 'decay')]


def _arguments(name: str, pointers: tuple[str, ...], options: type) -> type[ctypes.Structure]:
    fields = [(pointer, ctypes.c_void_p) for pointer in pointers]
    fields += [
        (number, ctypes.c_int64) for number in ('steps', 'neurons', 'threads', 'begin', 'end')
    ]
    fields += [('detach_reset', ctypes.c_int32), ('options', options)]
    return type(name, (ctypes.Structure,), {'_fields_': fields})


BinaryArguments = _arguments(
    'BinaryArguments',
    (*('x', 'v', 'out', 'v_end', 'grad_out', 'grad_v_end', 'grad_x', 'grad_v', 'grad_decay'),),
    BinaryOptions,
)
IntegerArguments = _arguments(
    'IntegerArguments',
    (*('x', 'v', 'out', 'v_end', 'mask', 'grad_out', 'grad_v_end', 'grad_x', 'grad_v'),),
    IntegerOptions,
)


def _cpu_flags() -> set[str]:
    if platform.machine() not in ('x86_64', 'AMD64'):
        return set()
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('flags'):
            return set(line.partition(':')[2].split())
    return set()


def _share_openmp() -> None:
    """Let the library find the OpenMP runtime that torch runs on, or the system's."""
    maps = Path('/proc/self/maps').read_text()
    found = re.search(r'\S*/lib(?:gomp|iomp5|omp)[-.]\S*', maps)
    path = found[0] if found else ctypes.util.find_library('gomp')
    if path:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def load_library() -> ctypes.CDLL | None:
    """Load the best library that was built and that this CPU can run; None if there is none."""
    flags = _cpu_flags()
    _share_openmp()
    for variant, needed in VARIANTS.items():
        for suffix in EXTENSION_SUFFIXES:
            path = _FOLDER / f'_host_{variant}{suffix}'
            if needed <= flags and path.is_file():
                return ctypes.CDLL(str(path))
    return None


# Loaded at import, so that asking for it later is something torch.compile can trace.
LIBRARY = load_library()
AVAILABLE = LIBRARY is not None
HOW_TO_BUILD = (
    'the host kernels were not built; install a C++ compiler and run '
    'pip install --no-build-isolation --force-reinstall --no-deps mmspike (or -e . in a clone)'
)


def _threads(elements: int) -> int:
    return torch.get_num_threads() if elements >= SINGLE_THREAD else 1


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _call(function: str, arguments: ctypes.Structure, *options: int) -> None:
    if getattr(LIBRARY, function)(ctypes.byref(arguments), *map(int, options)):
        raise RuntimeError(
            f'{function} was built by a compiler without this dtype (float16 needs GCC 12 or '
            "Clang 15); use neuron_backend('reference')"
        )


def run_binary(
    x: Tensor,
    v: Tensor | None,
    *,
    leak: int,
    constant: float,
    decay_input: bool,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: str,
    alpha: float,
    backward: bool,
    grad_decay: list[float] | None = None,
    **tensors: Tensor | None,
) -> None:
    """Run IF, LIF or PLIF over ``x`` (T, ...), forward or backward.

    ``tensors`` are the remaining pointers of the C struct ``BinaryArguments``. The gradient of the
    decay is appended to ``grad_decay``, in parts.
    """
    steps = x.shape[0]
    neurons = x.numel() // steps
    hard = v_reset is not None

    threads = _threads(x.numel())
    partial = (ctypes.c_double * threads)()
    arguments = BinaryArguments(
        x=_pointer(x),
        v=_pointer(v),
        steps=steps,
        neurons=neurons,
        threads=threads,
        detach_reset=detach_reset,
        options=BinaryOptions(constant, threshold, v_reset or 0.0, alpha),
        grad_decay=None if grad_decay is None else ctypes.addressof(partial),
        **{name: _pointer(tensor) for name, tensor in tensors.items()},
    )
    _call(
        'mmspike_binary', arguments,
        DTYPES[x.dtype], leak, decay_input, hard, SURROGATES[surrogate], backward,
    )  # fmt: skip
    if grad_decay is not None:
        grad_decay.extend(partial)


def run_integer(
    function: str,
    like: Tensor,
    *,
    steps: int,
    D: int,
    norm: float,
    decay: float,
    detach_reset: bool,
    rounding: str,
    grad_window: str,
    backward: bool,
    **tensors: Tensor | None,
) -> None:
    """Run SFA (``'mmspike_sfa'``) or I-LIF (``'mmspike_ilif'``), forward or backward.

    ``like`` has the number of elements and the dtype of the input; ``tensors`` are the pointers of
    the C struct ``IntegerArguments``.
    """
    arguments = IntegerArguments(
        steps=steps,
        neurons=like.numel() // steps,
        threads=_threads(like.numel()),
        detach_reset=detach_reset,
        options=IntegerOptions(D, norm, decay),
        **{name: _pointer(tensor) for name, tensor in tensors.items()},
    )
    _call(
        function, arguments,
        DTYPES[like.dtype], rounding == 'half_up', grad_window == 'strict', backward,
    )  # fmt: skip
