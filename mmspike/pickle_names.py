"""The functions and classes that a pickle names, found without running it."""

import io
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The description of a checkpoint's tensors is far smaller; more is not read for a message.
_LARGEST = 64 * 2**20
# What every checkpoint may name: tensors, plain containers and numbers.
_ORDINARY = ('torch.', 'collections.', 'numpy.')
_PLAIN = ('_codecs.encode', 'builtins.set', 'builtins.bytearray', 'builtins.complex')


def foreign_names(path: str | os.PathLike) -> list[str]:
    """Functions and classes that a file of ``torch.save`` names beside those of torch and numpy.

    Nothing is imported or run: the file is only taken apart.

    Args:
        path: A zip file of today's torch, or bare pickles, as older versions wrote.

    Returns:
        Names such as ``posix.system``, sorted; none where the file is damaged or no pickle.
    """
    found = (name for content in _contents(Path(path)) for name in _names(content))
    # Pickles that any Python can read use the names of Python 2.
    names = {re.sub('^__builtin__', 'builtins', name) for name in found}
    return sorted(n for n in names if n not in _PLAIN and not n.startswith(_ORDINARY))


def _contents(path: Path) -> list[bytes]:
    if not zipfile.is_zipfile(path):
        with open(path, 'rb') as file:
            return [file.read(_LARGEST)]
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith('.pkl')]
        return [archive.read(entry) for entry in entries if entry.file_size <= _LARGEST]


def _names(content: bytes) -> Iterator[str]:
    """The names in the pickles, one after the other, that ``content`` begins with."""
    stream = io.BytesIO(content)
    while stream.tell() < len(content):
        names: list[str] = []
        pushed: list[Any] = []
        memo: dict[Any, Any] = {}
        try:
            for operation, argument, _ in pickletools.genops(stream):
                match operation.name:
                    case 'GLOBAL' | 'INST':
                        names.append(str(argument).replace(' ', '.'))
                    case 'STACK_GLOBAL':  # module and name were pushed before
                        names.append('.'.join(map(str, pushed[-2:])))
                    case 'PUT' | 'BINPUT' | 'LONG_BINPUT' | 'MEMOIZE':
                        key = len(memo) if argument is None else argument
                        memo[key] = pushed[-1] if pushed else None
                    case 'GET' | 'BINGET' | 'LONG_BINGET':
                        pushed.append(memo.get(argument))
                    case _:
                        pushed.append(argument)
        except ValueError:
            return  # no whole pickle: the file is damaged, or something else follows
        yield from names
