"""The compiled library of the CPU kernels: finding the one that fits, and its structures."""

import ctypes
import ctypes.util
import os
import platform
import re
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

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


class BinaryOptions(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [(name, ctypes.c_float) for name in ('constant', 'threshold', 'v_reset', 'alpha')]


class IntegerOptions(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [(name, ctypes.c_float) for name in ('D', 'norm', 'decay')]


def _arguments(name: str, pointers: tuple[str, ...], options: type) -> type[ctypes.Structure]:
    fields: list[tuple[str, type]] = [(pointer, ctypes.c_void_p) for pointer in pointers]
    fields += [
        (number, ctypes.c_int64) for number in ('steps', 'neurons', 'threads', 'begin', 'end')
    ]
    fields += [('detach_reset', ctypes.c_int32), ('options', options)]
    return type(name, (ctypes.Structure,), {'_fields_': fields})


BinaryArguments = _arguments(
    'BinaryArguments',
    (*('x', 'v', 'out', 'v_end', 'grad_out', 'grad_v_end', 'grad_x', 'grad_v', 'grad_learned'),),
    BinaryOptions,
)
IntegerArguments = _arguments(
    'IntegerArguments',
    (*('x', 'v', 'out', 'v_end', 'mask', 'grad_out', 'grad_v_end', 'grad_x', 'grad_v'),),
    IntegerOptions,
)


class QcfsArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *[
            (pointer, ctypes.c_void_p)
            for pointer in ('x', 'out', 'grad_out', 'grad_x', 'grad_threshold')
        ],
        *[(number, ctypes.c_int64) for number in ('neurons', 'threads', 'begin', 'end')],
        *[(number, ctypes.c_float) for number in ('threshold', 'levels')],
    ]


class CountArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *[(pointer, ctypes.c_void_p) for pointer in ('x', 'sums', 'totals')],
        *[
            (number, ctypes.c_int64)
            for number in ('rows', 'columns', 'neurons', 'threads', 'begin', 'end')
        ],
        ('strange', ctypes.POINTER(ctypes.c_int32)),
        ('spike_value', ctypes.c_float),
    ]


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
