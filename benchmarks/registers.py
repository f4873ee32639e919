"""Compile the CUDA kernels for every GPU architecture and report registers and spills.

Needs CuPy and NVRTC, but no GPU and no driver. Writes registers.csv; a summary is printed.
"""

import argparse
import csv
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmspike.neurons.kernels import cuda
from mmspike.neurons.kernels.settings import (
    DIVIDE,
    MULTIPLY,
    NO_LEAK,
    SCALE,
    SURROGATES,
    BinarySettings,
    IntegerSettings,
)

ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)
# As CuPy compiles, which adds the last two.
FLAGS = (*cuda.COMPILER_OPTIONS, '-ftz=true', '--device-as-default-execution-space')


@dataclass
class Entry:
    """One compiled kernel."""

    architecture: int
    kernel: str
    registers: int
    spill_stores: int
    spill_loads: int


@contextmanager
def _recording() -> Iterator[list[str]]:
    """Collect the kernels that would be launched, without a GPU."""
    names: list[str] = []
    one = SimpleNamespace(multi_processor_count=1)
    with (
        mock.patch.object(cuda, 'launch', lambda name, *others: names.append(name)),
        mock.patch.object(torch.cuda, 'get_device_properties', return_value=one),
    ):
        yield names


def entry_points() -> list[str]:
    """Kernels with their template arguments: every value of every option, in many combinations.

    Charge, reset and dtype are combined in full; surrogates, lengths and alignment take turns.
    """
    # Cycles whose lengths have no common factor: all pairs of values meet.
    turns = zip(
        itertools.cycle(SURROGATES),
        itertools.cycle((1, 2, 4, 5, cuda.LONGEST_SEGMENT + 1)),
        itertools.cycle((24, 24, 7)),
        itertools.cycle((True, False, True, False, True, False, False)),
        strict=False,
    )
    charges = [(NO_LEAK, False), *itertools.product((DIVIDE, MULTIPLY), (True, False))]
    binary = [*itertools.product(charges, (0.0, None)), ((SCALE, False), None)]
    with _recording() as names:
        for dtype, ((leak, decay_input), v_reset) in itertools.product(cuda.STORAGE, binary):
            surrogate, steps, neurons, detached = next(turns)
            x, v = torch.zeros(steps, neurons, dtype=dtype), torch.zeros(neurons)
            learned = torch.ones(()) if leak in (MULTIPLY, SCALE) else None
            settings = BinarySettings(
                leak, 1.0, v_reset, detached, surrogate, 2.0, 3.0, decay_input
            )
            cuda.binary_forward(x, v, learned, x, v, settings)
            cuda.binary_backward(x, v, learned, x, v, x, v, settings)
        for dtype, neurons in itertools.product(cuda.STORAGE, (24, 7)):
            x, v = torch.zeros(1, neurons, dtype=dtype), torch.zeros(neurons)
            mask = torch.zeros(3, dtype=torch.uint8)
            for rounding, window in itertools.product(
                ('half_even', 'half_up'), ('inclusive', 'strict')
            ):
                settings = IntegerSettings(4, 4.0, rounding, window)
                cuda.sfa_forward(x, x, mask, settings)
                cuda.ilif_forward(x, v, x, v, mask, settings)
            cuda.sfa_backward(x, mask, x, 4.0)
            cuda.ilif_backward(x, mask, v, x, v, 4.0, 0.25, True)
            cuda.qcfs_forward(x, torch.ones(()), x, 16)
            cuda.qcfs_backward(x, torch.ones(()), x, x, 16)
    return list(dict.fromkeys(names))


def supported() -> list[int]:
    """Architectures of :data:`ARCHITECTURES` that the installed NVRTC knows."""
    from cupy_backends.cuda.libs import nvrtc

    return [arch for arch in ARCHITECTURES if arch in nvrtc.getSupportedArchs()]


def compile_with_nvrtc(names: list[str], target: str, *flags: str) -> tuple[bytes, str]:
    """Compile kernels for ``'sm_80'`` (cubin) or ``'compute_80'`` (PTX), as CuPy does.

    Returns:
        The binary or the PTX text, and what the compiler said.

    Raises:
        RuntimeError: It does not compile; the message is the compiler's.
    """
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(cuda.source(), 'cuda.cu', (), ())
    try:
        for name in names:
            nvrtc.addNameExpression(program, f'mmspike::{name}')
        try:
            nvrtc.compileProgram(program, (f'--gpu-architecture={target}', *FLAGS, *flags))
        except nvrtc.NVRTCError as error:
            raise RuntimeError(nvrtc.getProgramLog(program)) from error
        get = nvrtc.getCUBIN if target.startswith('sm') else nvrtc.getPTX
        return get(program), nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)


REPORT = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r'Used (\d+) registers',
    re.S,
)


def compile_all(names: list[str], architecture: int) -> tuple[bytes, list[Entry]]:
    """Compile kernels into one cubin; report them by their mangled names."""
    cubin, report = compile_with_nvrtc(names, f'sm_{architecture}', '--ptxas-options=-v')
    entries = [
        Entry(architecture, kernel, int(registers), int(stores), int(loads))
        for kernel, stores, loads, registers in REPORT.findall(report)
    ]
    return cubin, entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='work_dirs/bench', help='folder for the CSV')
    args = parser.parse_args()
    names = entry_points()
    entries: list[Entry] = []
    for architecture in track(supported(), f'compiling {len(names)} kernels'):
        entries += compile_all(names, architecture)[1]

    kinds = list(dict.fromkeys(name.partition('<')[0] for name in names))
    table = Table('most registers of', *(f'sm_{a}' for a in supported()))
    for kind in kinds:
        most = [
            max(e.registers for e in entries if e.architecture == a and kind in e.kernel)
            for a in supported()
        ]
        table.add_row(kind, *map(str, most))
    spilled = sum(e.spill_stores + e.spill_loads for e in entries)
    console = Console()
    console.print(table)
    console.print(f'{len(entries)} kernels compiled, {spilled} bytes spilled')

    path = Path(args.out) / 'registers.csv'
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, asdict(entries[0]))
        writer.writeheader()
        writer.writerows(map(asdict, entries))
    console.print(f'written: {path}')


if __name__ == '__main__':
    main()
