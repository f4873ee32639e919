"""Hypothesis strategies that break files: cut, overwrite, lie, splice, and archives that lie."""

import io
import struct
import zipfile

import numpy as np
from hypothesis import strategies as st

# Lengths, counts and offsets that a damaged or hostile header may claim.
CLAIMS = st.sampled_from(
    [0, 1, 2, 7, 255, 256, 65535, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1,
     2**64 - 1]
)  # fmt: skip
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])


def places(content: bytes | bytearray) -> st.SearchStrategy[int]:
    """Anywhere, half of the time in the first bytes, where headers are."""
    last = max(len(content) - 1, 0)
    return st.integers(0, min(80, last)) | st.integers(0, last)


@st.composite
def broken(draw: st.DrawFn, content: bytes, others: list[bytes]) -> bytes:
    """A valid file after one to three changes."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(places(changed))
        kind = draw(st.sampled_from(['cut', 'flip', 'flip', 'claim', 'claim', 'drop', 'splice']))
        if kind == 'cut':
            del changed[at:]
        elif kind == 'flip':
            changed[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == 'claim':
            size = draw(st.sampled_from([1, 2, 4, 8]))
            claim = draw(CLAIMS) % 2 ** (8 * size)
            changed[at : at + size] = claim.to_bytes(size, draw(st.sampled_from(['little', 'big'])))
        elif kind == 'drop':
            del changed[at : at + draw(st.integers(1, 64))]
        else:
            other = draw(st.sampled_from(others))
            start = draw(places(other))
            piece = other[start : start + draw(st.integers(1, 256))]
            changed[at : at + draw(st.sampled_from([0, len(piece)]))] = piece
    return bytes(changed)


@st.composite
def lying_npy(draw: st.DrawFn, fields: bool = False) -> bytes:
    """An array whose header fits what follows in some respects only."""
    number = draw(st.sampled_from([0, 1, 5, 200]))
    dtype = draw(st.sampled_from(['<i8', '>u2', '|u1', '|b1', '<f8', '<f2', '<U3', '|O', '|S0']))
    if fields:
        dtype = [(name, dtype) for name in draw(st.sampled_from(['txyp', 'txy', 'txypq']))]
    first = st.integers(-5, 5) | CLAIMS | st.just(number)
    shape = draw(
        first.map(lambda n: (n,))
        | st.tuples(first, first)
        | st.sampled_from([(), 5, (1.5,), (True,)])
    )
    header = repr({'descr': dtype, 'fortran_order': draw(st.booleans()), 'shape': shape})
    header = draw(
        st.sampled_from([header, header, header + '(', '[' * 3000, header.replace('}', '')])
    )
    version = draw(st.sampled_from([1, 1, 2, 3, 4]))
    length = draw(st.just(len(header)) | CLAIMS)
    size = struct.pack('<H', length % 2**16) if version == 1 else struct.pack('<I', length % 2**32)
    values = np.arange(number, dtype=np.int64).tobytes()[: draw(st.integers(0, 8 * number))]
    return b'\x93NUMPY' + bytes([version, 0]) + size + header.encode() + values


@st.composite
def lying_npz(draw: st.DrawFn) -> bytes:
    """An archive of such arrays, of bombs, and of things that are no arrays."""
    file = io.BytesIO()
    bomb = np.lib.format.magic(1, 0) + struct.pack('<H', 90)
    bomb += f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**21},)}}".ljust(90).encode()
    with zipfile.ZipFile(file, 'w', draw(METHODS)) as archive:
        for name in draw(st.lists(st.sampled_from('txyp'), unique=True, min_size=3)):
            kind = draw(st.sampled_from(['array', 'array', 'lie', 'bomb', 'other']))
            if kind == 'array':
                member = io.BytesIO()
                np.save(member, np.arange(draw(st.sampled_from([5, 5, 5, 6]))) % 2)
                content = member.getvalue()
            elif kind == 'lie':
                content = draw(lying_npy())
            else:
                content = bomb + bytes(2**21) if kind == 'bomb' else draw(st.binary(max_size=30))
            archive.writestr(f'{name}.npy', content)
    return file.getvalue()
