"""NVRTC accepts every CUDA kernel for every architecture it knows; neither a GPU nor a driver."""

import re

import pytest

pytest.importorskip('cupy_backends', reason='CuPy is not installed')

import registers

from mmspike.neurons.kernels import cuda
from mmspike.neurons.kernels.settings import SURROGATES

NAMES = registers.entry_points()


def test_every_option_is_among_the_compiled_kernels():
    kinds = {name.partition('<')[0] for name in NAMES}
    assert kinds == set(re.findall(r'__global__ void (\w+)\(', cuda.source()))
    backward = [
        re.split('[<>, ]+', name)[1:-1] for name in NAMES if name.startswith('binary_backward')
    ]
    storage, leaks, decay_input, hard, detached, surrogates, segments, groups, aligned = map(
        set, zip(*backward, strict=True)
    )
    assert storage == set(cuda.STORAGE.values())
    assert leaks == {'0', '1', '2', '3'}
    assert decay_input == hard == detached == aligned == {'true', 'false'}
    assert surrogates == {str(number) for number in SURROGATES.values()}
    assert segments == {'1', '2', '4', '8'}
    assert groups == {'1', '4', '8'}


@pytest.mark.slow
@pytest.mark.parametrize('architecture', registers.ARCHITECTURES)
def test_kernels_compile_without_spills(architecture):
    if architecture not in registers.supported():
        pytest.skip(f'this NVRTC does not know sm_{architecture}')
    cubin, entries = registers.compile_all(NAMES, architecture)
    assert cubin.startswith(b'\x7fELF')
    assert len(entries) == len(NAMES)
    assert all(0 < entry.registers <= 128 for entry in entries)
    assert not any(entry.spill_stores or entry.spill_loads for entry in entries)


@pytest.mark.slow
@pytest.mark.parametrize('storage', cuda.STORAGE.values())
def test_aligned_sequences_are_read_16_bytes_at_a_time(storage):
    names = [name for name in NAMES if name.endswith('true>') and f'<{storage},' in name]
    narrow = r'ld\.global\.nc\.(?:f32|u16)'
    for name in names:
        ptx = registers.compile_with_nvrtc([name], 'compute_80')[0].decode()
        assert re.search(r'ld\.global\.nc\.v4', ptx), name
        # Other than a learned number, which is read once.
        assert len(re.findall(narrow, ptx)) <= 1, name


def test_what_does_not_compile_is_told(monkeypatch):
    monkeypatch.setattr(cuda, 'source', lambda: 'nonsense')
    with pytest.raises(RuntimeError, match=r'cuda\.cu.*error'):
        registers.compile_with_nvrtc([], 'sm_80')
