"""The compiled library of the CPU kernels: finding the one that fits, and calling it."""

import ctypes
import ctypes.util
import os
import platform
import re
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

from mmspike.deprecation import warn_renamed

if 'MMSPIKE_HOST_KERNELS' in os.environ:
    warn_renamed('MMSPIKE_HOST_KERNELS', 'MMSPIKE_CPU_KERNELS', stacklevel=2)
    os.environ.setdefault('MMSPIKE_CPU_KERNELS', os.environ['MMSPIKE_HOST_KERNELS'])
# Another folder with libraries, such as ones for a debugger.
_FOLDER = Path(os.environ.get('MMSPIKE_CPU_KERNELS') or Path(__file__).parent)
# Instruction sets with a library of their own, best first: name -> CPU flags it needs.
VARIANTS = {
    'avx512': {'avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'},
    'avx2': {'avx2', 'fma', 'f16c', 'bmi2'},
    'baseline': set(),
}


def cpu_flags() -> set[str]:
    """Names of the instruction sets of this CPU, as Linux lists them; empty where it is no x86."""
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
    flags = cpu_flags()
    _share_openmp()
    for variant, needed in VARIANTS.items():
        for suffix in EXTENSION_SUFFIXES:
            path = _FOLDER / f'_cpu_{variant}{suffix}'
            if needed <= flags and path.is_file():
                return ctypes.CDLL(str(path))
    return None


# Loaded at import, so that asking for it later is something torch.compile can trace.
LIBRARY = load_library()
AVAILABLE = LIBRARY is not None
HOW_TO_BUILD = (
    'the CPU kernels were not built; install a C++ compiler and run '
    'pip install --no-build-isolation --force-reinstall --no-deps mmspike (or -e . in a clone)'
)
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# Below so many elements a second thread costs more than it saves.
SINGLE_THREAD = 1 << 16


def threads_for(elements: int) -> int:
    """Number of threads for so many elements."""
    return torch.get_num_threads() if elements >= SINGLE_THREAD else 1


def pointers(*names: str) -> list[tuple[str, type]]:
    """Fields of a C struct that are pointers."""
    return [(name, ctypes.c_void_p) for name in names]


def counts(*names: str) -> list[tuple[str, type]]:
    """Fields of a C struct that are int64."""
    return [(name, ctypes.c_int64) for name in names]


def floats(*names: str) -> list[tuple[str, type]]:
    """Fields of a C struct that are float32."""
    return [(name, ctypes.c_float) for name in names]


def pointer_of(tensor: Tensor | None) -> int | None:
    """The address of a tensor's first element; None of no tensor."""
    return None if tensor is None else tensor.data_ptr()


def call(function: str, arguments: ctypes.Structure, *options: int) -> None:
    """Call a function of the library.

    Args:
        function: Its name.
        arguments: The struct that it reads.
        *options: Numbers that follow; the first is that of the dtype, see :data:`DTYPES`.

    Raises:
        RuntimeError: The library has no kernel for this dtype.
    """
    if getattr(LIBRARY, function)(ctypes.byref(arguments), *map(int, options)):
        raise RuntimeError(
            f'{function} was built by a compiler without this dtype (float16 needs GCC 12 or '
            "Clang 15); use neuron_backend('reference')"
        )
