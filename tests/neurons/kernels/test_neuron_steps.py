"""NVRTC accepts the header with the neurons' arithmetic too, for every architecture it knows.

NVRTC comes with torch's own dependencies and needs neither a GPU nor a driver.
"""

import ctypes
from pathlib import Path

import pytest

import mmspike.neurons.kernels as kernels

HEADER = Path(kernels.__file__).parent / 'csrc' / 'neuron_steps.h'

# Uses every step once, so that a template that only parses is not enough.
PROGRAM = """
#include "neuron_steps.h"
using namespace mmspike;

template <int LEAK, bool DECAY_INPUT, bool HARD, int SURROGATE>
__device__ float binary_step(float v, float x, const BinaryOptions& o) {
    const float h = charge<LEAK, DECAY_INPUT>(v, x, o);
    const float d = surrogate_derivative<SURROGATE>(h - o.threshold, o);
    return reset<HARD>(h, o) + grad_fire<HARD>(h, d, 1.0f, 0.5f, 1.0f, o) * charge_by_v<LEAK>(o) *
           charge_by_x<LEAK, DECAY_INPUT>(o) + charge_by_decay<DECAY_INPUT>(v, x, o) +
           (fires(h, o) ? 1.0f : 0.0f);
}

template <bool HALF_UP, bool STRICT>
__device__ float integer_step(float x, const IntegerOptions& o) {
    return integer_fire<HALF_UP>(x, o) / o.norm + (inside_window<STRICT>(x, o) ? 1.0f : 0.0f);
}

extern "C" __global__ void all_steps(float* v, const float* x, BinaryOptions b, IntegerOptions o) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    v[i] = binary_step<NO_LEAK, false, true, SIGMOID>(v[i], x[i], b) +
           binary_step<DIVIDE, true, false, ATAN>(v[i], x[i], b) +
           binary_step<MULTIPLY, false, true, RECTANGULAR>(v[i], x[i], b) +
           binary_step<MULTIPLY, true, false, TRIANGULAR>(v[i], x[i], b) +
           integer_step<true, false>(x[i], o) + integer_step<false, true>(x[i], o);
}
"""


@pytest.fixture(scope='module')
def nvrtc():
    nvidia = pytest.importorskip('nvidia.cuda_nvrtc', reason='torch was installed without CUDA')
    (library,) = Path(next(iter(nvidia.__path__)), 'lib').glob('libnvrtc.so.*')
    return ctypes.CDLL(str(library))


def architectures(nvrtc) -> list[int]:
    count = ctypes.c_int()
    assert nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    found = (ctypes.c_int * count.value)()
    assert nvrtc.nvrtcGetSupportedArchs(found) == 0
    return list(found)


def compile_to_cubin(nvrtc, architecture: int) -> tuple[bytes, str]:
    program = ctypes.c_void_p()
    headers, names = (ctypes.c_char_p * 1)(HEADER.read_bytes()), (ctypes.c_char_p * 1)(
        b'neuron_steps.h'
    )  # fmt: skip
    assert nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), PROGRAM.encode(), b'steps.cu', 1, headers, names
    ) == 0  # fmt: skip
    flags = [f'--gpu-architecture=sm_{architecture}', '--std=c++17', '--fmad=false']
    flags += ['--ptxas-options=-v']
    options = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    failed = nvrtc.nvrtcCompileProgram(program, len(flags), options)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    text = log.value.decode()
    assert not failed, text
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    cubin = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, cubin)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return cubin.raw, text


@pytest.mark.parametrize('architecture', [70, 75, 80, 86, 89, 90, 100, 120])
def test_steps_compile_for_gpus_without_spills(nvrtc, architecture):
    if architecture not in architectures(nvrtc):
        pytest.skip(f'this NVRTC does not know sm_{architecture}')
    cubin, report = compile_to_cubin(nvrtc, architecture)
    assert cubin.startswith(b'\x7fELF')
    assert b'all_steps' in cubin
    assert '0 bytes spill stores, 0 bytes spill loads' in report
