"""The kernels on NVIDIA GPUs, through CuPy: compiling ``csrc/cuda.cu`` and launching it.

CuPy compiles a kernel for the numbers that are fixed in it (dtype, options) the first time it is
launched and keeps it on disk. Launches go to torch's current device and stream; nothing is copied,
and nothing waits for the GPU. CuPy flushes subnormal numbers (below 1e-38) to zero.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmspike.neurons.kernels.settings import SURROGATES, BinarySettings, IntegerSettings

HOW_TO_INSTALL = (
    'CuPy cannot be imported ({error}); install the one for your CUDA: pip install mmspike[cuda12] '
    'or mmspike[cuda13]'
)
SOURCES = ('neuron_steps.h', 'storage.h', 'cuda.cu')
# Products and sums round one by one, as they do in torch and in the CPU kernels.
COMPILER_OPTIONS = ('-std=c++17', '--fmad=false')
STORAGE = {
    torch.float32: 'float',
    torch.float16: 'mmspike::Float16',
    torch.bfloat16: 'mmspike::BFloat16',
}
BLOCK = 256  # threads
BLOCKS_PER_MULTIPROCESSOR = 8
BYTE = 8  # neurons of the integer kernels' threads: a byte of the mask
# Most membranes that a thread of backward keeps in registers: more would spill.
MEMBRANES = 32
LONGEST_SEGMENT = 8  # steps


@torch.compiler.assume_constant_result
@cache
def obstacle() -> str | None:
    """Why the kernels cannot run on this machine's GPUs; None if they can."""
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        return HOW_TO_INSTALL.format(error=error)
    if torch.version.hip:
        return 'this torch runs on AMD GPUs; kernels exist for NVIDIA GPUs'
    return None


def source() -> str:
    """All of the CUDA code in one text: CuPy's cache on disk does not look into included files."""
    folder = Path(__file__).parent / 'csrc'
    lines = [line for name in SOURCES for line in (folder / name).read_text().splitlines()]
    return '\n'.join(line for line in lines if not line.startswith(('#include "', '#pragma once')))


@cache
def _kernel(name: str):
    import cupy

    module = cupy.RawModule(
        code=source(), options=COMPILER_OPTIONS, name_expressions=(name,), backend='nvrtc'
    )
    return module.get_function(name)


class _TorchStream:
    """Torch's current stream, in the form in which CuPy takes streams of others."""

    def __init__(self, device: torch.device) -> None:
        self.pointer = torch.cuda.current_stream(device).cuda_stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


def launch(name: str, blocks: int, device: torch.device, arguments: Sequence) -> None:
    """Launch a kernel on torch's current stream of a device; both stay current as they were.

    Args:
        name: Kernel with its template arguments, without the namespace.
        blocks: Blocks of ``BLOCK`` threads.
        device: Where the tensors are.
        arguments: ``int`` for pointers and counts, ``numpy.float32`` for other numbers.
    """
    import cupy

    with torch.cuda.device(device), cupy.cuda.Stream.from_external(_TorchStream(device)):
        _kernel(f'mmspike::{name}')((blocks,), (BLOCK,), tuple(arguments))


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def _blocks(neurons: int, group: int, device: torch.device) -> int:
    """Enough to fill the device; the kernels' loops go over what is left."""
    threads = -(-neurons // group)
    return min(-(-threads // BLOCK), _multiprocessors(device) * BLOCKS_PER_MULTIPROCESSOR)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _aligned(neurons: int, group: int, *tensors: Tensor | None) -> bool:
    """Whether all rows can be read 16 bytes at a time, in groups of neurons."""
    return neurons % group == 0 and all(_pointer(tensor) % 16 == 0 for tensor in tensors)


def _template(kernel: str, *arguments: object) -> str:
    words = [str(a).lower() if isinstance(a, bool) else str(a) for a in arguments]
    return f'{kernel}<{", ".join(words)}>'


def _group(neurons: int, first: Tensor, *others: Tensor | None) -> tuple[int, bool]:
    """Neurons per thread, and whether they are aligned: 16 bytes of them, or one."""
    group = 16 // first.element_size()
    aligned = _aligned(neurons, group, first, *others)
    return (group if aligned else 1), aligned


# --- IF, LIF, PLIF, SpikingQCFS -------------------------------------------------------------------


def _binary_constants(settings: BinarySettings) -> tuple[tuple, tuple[np.float32, ...]]:
    leak, constant = settings.charge()
    numbers = (constant, settings.threshold, settings.rest)
    hard = settings.v_reset is not None
    return (leak, settings.decay_input, hard), tuple(map(np.float32, numbers))


def binary_forward(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    out: Tensor,
    v_end: Tensor | None,
    settings: BinarySettings,
) -> None:
    """Fill ``out`` (T, ...) and ``v_end`` (...)."""
    steps, neurons = x.shape[0], x[0].numel()
    group, aligned = _group(neurons, x, v, out, v_end)
    options, numbers = _binary_constants(settings)
    launch(
        _template('binary_forward', STORAGE[x.dtype], *options, group, aligned),
        _blocks(neurons, group, x.device), x.device,
        (*map(_pointer, (x, v, learned, out, v_end)), steps, neurons, *numbers),
    )  # fmt: skip


def binary_backward(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    grad_out: Tensor,
    grad_v_end: Tensor | None,
    grad_x: Tensor,
    grad_v: Tensor | None,
    settings: BinarySettings,
) -> Tensor | None:
    """Fill ``grad_x`` and ``grad_v``; return the gradient of the learned number in parts."""
    steps, neurons = x.shape[0], x[0].numel()
    group, aligned = _group(neurons, x, v, grad_out, grad_v_end, grad_x, grad_v)
    segment = 1
    while segment < min(steps, LONGEST_SEGMENT, MEMBRANES // group):
        segment *= 2
    trace = None
    if steps > segment:
        trace = x.new_empty((-(-steps // segment) - 1, neurons), dtype=torch.float32)
    blocks = _blocks(neurons, group, x.device)
    parts = None if learned is None else x.new_empty(blocks * BLOCK, dtype=torch.float32)
    options, numbers = _binary_constants(settings)
    pointers = (x, v, learned, grad_out, grad_v_end, trace, grad_x, grad_v, parts)
    launch(
        _template(
            'binary_backward', STORAGE[x.dtype], *options, settings.detach_reset,
            SURROGATES[settings.surrogate], segment, group, aligned,
        ),
        blocks, x.device,
        (
            *map(_pointer, pointers), steps, neurons, *numbers, np.float32(settings.alpha)
        ),
    )  # fmt: skip
    return parts


# --- SFA, I-LIF ---------------------------------------------------------------------------------


def sfa_forward(x: Tensor, out: Tensor, mask: Tensor | None, settings: IntegerSettings) -> None:
    """Fill ``out`` and ``mask``."""
    aligned = _aligned(x.numel(), BYTE, x, out)
    launch(
        _template('sfa_forward', STORAGE[x.dtype], settings.half_up, settings.strict, aligned),
        _blocks(x.numel(), BYTE, x.device), x.device,
        (
            *map(_pointer, (x, out, mask)), x.numel(), np.float32(settings.D),
            np.float32(settings.norm),
        ),
    )  # fmt: skip


def sfa_backward(grad_out: Tensor, mask: Tensor, grad_x: Tensor, norm: float) -> None:
    """Fill ``grad_x``."""
    aligned = _aligned(grad_out.numel(), BYTE, grad_out, grad_x)
    launch(
        _template('sfa_backward', STORAGE[grad_out.dtype], aligned),
        _blocks(grad_out.numel(), BYTE, grad_out.device), grad_out.device,
        (*map(_pointer, (grad_out, mask, grad_x)), grad_out.numel(), np.float32(norm)),
    )  # fmt: skip


def ilif_forward(
    x: Tensor,
    v: Tensor | None,
    out: Tensor,
    v_end: Tensor | None,
    mask: Tensor | None,
    settings: IntegerSettings,
) -> None:
    """Fill ``out`` (T, ...), ``v_end`` (...) and ``mask``."""
    steps, neurons = x.shape[0], x[0].numel()
    aligned = _aligned(neurons, BYTE, x, v, out, v_end)
    launch(
        _template('ilif_forward', STORAGE[x.dtype], settings.half_up, settings.strict, aligned),
        _blocks(neurons, BYTE, x.device), x.device,
        (
            *map(_pointer, (x, v, out, v_end, mask)), steps, neurons,
            *map(np.float32, (settings.D, settings.norm, settings.decay)),
        ),
    )  # fmt: skip


def ilif_backward(
    grad_out: Tensor,
    mask: Tensor,
    grad_v_end: Tensor | None,
    grad_x: Tensor,
    grad_v: Tensor | None,
    norm: float,
    decay: float,
    detach_reset: bool,
) -> None:
    """Fill ``grad_x`` (T, ...) and ``grad_v`` (...)."""
    steps, neurons = grad_out.shape[0], grad_out[0].numel()
    aligned = _aligned(neurons, BYTE, grad_out, grad_v_end, grad_x, grad_v)
    launch(
        _template('ilif_backward', STORAGE[grad_out.dtype], aligned),
        _blocks(neurons, BYTE, grad_out.device), grad_out.device,
        (
            *map(_pointer, (grad_out, mask, grad_v_end, grad_x, grad_v)), steps, neurons,
            *map(np.float32, (norm, decay, not detach_reset)),
        ),
    )  # fmt: skip


# --- QCFS ---------------------------------------------------------------------------------------


def qcfs_forward(x: Tensor, threshold: Tensor, out: Tensor, levels: int) -> None:
    """Fill ``out``."""
    group, aligned = _group(x.numel(), x, out)
    launch(
        _template('qcfs_forward', STORAGE[x.dtype], group, aligned),
        _blocks(x.numel(), group, x.device), x.device,
        (*map(_pointer, (x, threshold, out)), x.numel(), np.float32(levels)),
    )  # fmt: skip


def qcfs_backward(
    x: Tensor, threshold: Tensor, grad_out: Tensor, grad_x: Tensor, levels: int
) -> Tensor:
    """Fill ``grad_x``; return the gradient of the threshold in parts."""
    group, aligned = _group(x.numel(), x, grad_out, grad_x)
    blocks = _blocks(x.numel(), group, x.device)
    parts = x.new_empty(blocks * BLOCK, dtype=torch.float32)
    launch(
        _template('qcfs_backward', STORAGE[x.dtype], group, aligned),
        blocks, x.device,
        (
            *map(_pointer, (x, threshold, grad_out, grad_x, parts)), x.numel(), np.float32(levels),
        ),
    )  # fmt: skip
    return parts
