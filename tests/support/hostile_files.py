"""Checkpoints that try to write a file when they are loaded."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch


class _Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple:
        return self._call


def calling_open(path: Path, marker: Path) -> None:
    """A file of ``torch.save`` that names ``open``."""
    torch.save(dict(state_dict={}, meta=_Call(open, str(marker), 'w')), path)


def calling_system(path: Path, marker: Path) -> None:
    """One that names ``os.system``, of a module that torch blocks altogether."""
    import os

    torch.save(dict(state_dict={}, meta=_Call(os.system, f'touch {marker}')), path)


def old_format(path: Path, marker: Path) -> None:
    """As torch wrote files before 1.6: bare pickles."""
    content = dict(state_dict={}, meta=_Call(open, str(marker), 'w'))
    torch.save(content, path, _use_new_zipfile_serialization=False)


def newer_protocol(path: Path, marker: Path) -> None:
    """A pickle of protocol 4, which names functions in another way."""
    path.write_bytes(pickle.dumps(dict(a=_Call(open, str(marker), 'w')), protocol=4))


def _global(module: str, name: str) -> bytes:
    return f'c{module}\n{name}\n'.encode()


def _string(text: str) -> bytes:
    return b'X' + len(text).to_bytes(4, 'little') + text.encode()


def _attribute(of: bytes, name: str) -> bytes:
    return _global('__builtin__', 'getattr') + of + _string(name) + b'\x86R'


def through_getattr(path: Path, marker: Path) -> None:
    """One that reaches ``exec`` from functions that torch allows, if ``getattr`` is allowed."""
    function = _global('torch._utils', '_rebuild_tensor_v2')
    scope = _attribute(function, '__globals__')

    def call(function: bytes, result: bytes, argument: str) -> bytes:
        rebuild = _global('torch._tensor', '_rebuild_from_type_v2')
        return rebuild + b'(' + function + result + b'(' + _string(argument) + b't}tR'

    kind = _attribute(scope, '__class__')
    builtins = call(_attribute(scope, 'get'), kind, '__builtins__')
    get = _attribute(builtins, 'get')
    run = call(get, _attribute(get, '__class__'), 'exec')
    done = call(run, _attribute(b'N', '__class__'), f'open({str(marker)!r}, "w")')
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, b'\x80\x02' + done + b'.' if 'data.pkl' in name else content)


# What writes a file, and what a refusal has to name.
HOSTILE = {
    calling_open: ('open',),
    calling_system: ('posix.system',),
    old_format: ('open',),
    newer_protocol: ('open',),
    through_getattr: ('builtins.getattr', '__globals__'),
}
