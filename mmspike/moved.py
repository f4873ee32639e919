"""Old import paths. They work for one release, with a warning that names the new path.

Python asks the finder below when no other finder knows a module: the normal imports of mmspike
never come here.
"""

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Old module -> new module, without 'mmspike.'. Modules inside of a package move along.
MODULES: dict[str, str] = {}
# Packages that are no more -> where the names that they exported are now.
PACKAGES: dict[str, tuple[str, ...]] = {}


def moved_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module out of which names have moved.

    Args:
        module: Full name of the module.
        names: Old name -> where it is now, ``'package.module:name'`` without ``'mmspike.'``.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        place, _, new = names[name].partition(':')
        _warn(f'{module}.{name}', f'mmspike.{place}.{new}')
        return getattr(import_module(f'mmspike.{place}'), new)

    return find


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f'{old} is deprecated and will be removed after the next release: use {new}',
        DeprecationWarning,
        stacklevel=3,
    )


class _OldPaths(MetaPathFinder):
    """Knows the modules of this file."""

    def find_spec(self, fullname: str, path: object = None, target: object = None):
        scope, _, name = fullname.partition('.')
        if scope != 'mmspike':
            return None
        if name in PACKAGES:
            return ModuleSpec(fullname, _OldPackage(), is_package=True)
        new = _new_name(name)
        return ModuleSpec(fullname, _OldModule(f'mmspike.{new}')) if new else None


def _new_name(old: str) -> str | None:
    package, rest = old, ''
    while package:
        if package in MODULES:
            return MODULES[package] + rest
        package, _, last = package.rpartition('.')
        rest = f'.{last}{rest}'
    return None


class _OldModule(Loader):
    """Gives the new module in the place of the old one."""

    def __init__(self, new: str) -> None:
        self._new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        _warn(spec.name, self._new)
        module = import_module(self._new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # Python has written the old name's spec into the new module.
        module.__spec__ = self._spec


class _OldPackage(Loader):
    """Looks for the names of a package that was divided in its parts."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        parts = PACKAGES[old.partition('.')[2]]

        def find(name: str) -> Any:
            for part in parts:
                found = getattr(import_module(f'mmspike.{part}'), name, None)
                if found is not None:
                    _warn(f'{old}.{name}', f'mmspike.{part}.{name}')
                    return found
            raise AttributeError(f'module {old!r} has no attribute {name!r}')

        module.__getattr__ = find


def keep_old_paths() -> None:
    """Let the old paths be imported."""
    sys.meta_path.append(_OldPaths())
