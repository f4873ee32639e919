"""The CUDA kernels on the CPU: their own source, compiled by the host compiler.

No thread of these kernels waits for another, so that running one after the other computes what a
GPU does. An emulator stands in for ``cuda.launch`` and takes the arguments that CuPy would get.
"""

import ctypes
import subprocess
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmspike.neurons.kernels import cuda
from mmspike.neurons.kernels.ops import common

# What NVRTC knows by itself.
PROLOGUE = """
#include <cstddef>
#include <utility>
#define __global__
#define __restrict__
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct Dim { unsigned x; };
static Dim blockIdx, threadIdx, blockDim, gridDim;
"""
# Arguments come as the CUDA driver takes them: one pointer to each.
EPILOGUE = """
template <typename... P, std::size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {{
    kernel(*static_cast<P*>(arguments[I])...);
}}

template <typename... P>
int run(void (*kernel)(P...), void** arguments, const int* sizes, int count) {{
    const int expected[] = {{int(sizeof(P))...}};
    if (count != int(sizeof...(P))) return 1;
    for (int i = 0; i < count; ++i) if (sizes[i] != expected[i]) return 2 + i;
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
            call(kernel, arguments, std::index_sequence_for<P...>{{}});
    return 0;
}}

extern "C" int emulate(void** arguments, const int* sizes, int count, unsigned blocks,
                       unsigned threads) {{
    gridDim.x = blocks;
    blockDim.x = threads;
    return run(&mmspike::{name}, arguments, sizes, count);
}}
"""
# For this processor: with the fused multiply-add that GPUs have, and the CPU kernels use.
FLAGS = ('-O1', '-march=native', '-std=c++17', '-ffp-contract=off', '-w', '-shared', '-fPIC')


class CudaEmulator:
    """Stands in for :func:`mmspike.neurons.kernels.cuda.launch`.

    Args:
        folder: Where to put compiled kernels.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.libraries: dict[str, ctypes.CDLL] = {}
        self.launched: list[str] = []

    def _library(self, name: str) -> ctypes.CDLL:
        if name not in self.libraries:
            stem = self.folder / sha256(name.encode()).hexdigest()[:16]
            text = PROLOGUE + cuda.source() + EPILOGUE.format(name=name)
            stem.with_suffix('.cpp').write_text(text)
            library = stem.with_suffix('.so')
            subprocess.run(
                ['c++', *FLAGS, str(stem.with_suffix('.cpp')), '-o', str(library)], check=True
            )
            self.libraries[name] = ctypes.CDLL(str(library))
        return self.libraries[name]

    def __call__(self, name: str, blocks: int, where: torch.device, arguments: tuple) -> None:
        values = []
        for argument in arguments:
            assert type(argument) in (int, np.float32), argument
            kind = ctypes.c_int64 if isinstance(argument, int) else ctypes.c_float
            values.append(kind(argument))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        sizes = (ctypes.c_int * len(values))(*(ctypes.sizeof(v) for v in values))
        wrong = self._library(name).emulate(pointers, sizes, len(values), blocks, cuda.BLOCK)
        assert not wrong, f'{name}: wrong number of arguments, or argument {wrong - 2} is wrong'
        self.launched.append(name)

    def take_cpu_tensors(self, patch: pytest.MonkeyPatch) -> None:
        """Run the kernels of CPU tensors: a device with one multiprocessor."""
        patch.setattr(cuda, 'launch', self)
        one = SimpleNamespace(multi_processor_count=1)
        patch.setattr(torch.cuda, 'get_device_properties', lambda where: one)
        patch.setattr(common, 'cpu', cuda)
