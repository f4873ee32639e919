"""Old import paths. They work for one release, with a warning that names the new path.

The finder below is asked first: a folder of an old package may be left in a clone, empty but for
what Python has compiled.
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
MODULES = {
    'conversion.builders': 'ann2snn.builders',
    'conversion.constant': 'ann2snn.constant',
    'conversion.early_exit': 'ann2snn.early_exit',
    'conversion.families': 'converters.families',
    'conversion.fold': 'ann2snn.fold',
    'conversion.mst': 'converters.mst',
    'conversion.quantise': 'ann2snn.quantise',
    'conversion.read_out': 'ann2snn.read_out',
    'conversion.report': 'ann2snn.report',
    'conversion.sdt': 'converters.sdt',
    'conversion.sdtv3': 'converters.sdtv3',
    'conversion.sdtv3_dense': 'converters.dense',
    'conversion.simulate': 'ann2snn.simulate',
    'conversion.simulated_call': 'ann2snn.simulated_call',
    'conversion.simulation': 'ann2snn.simulation',
    'conversion.spiking': 'ann2snn.spiking',
    'conversion.weights': 'converters.weights',
    'converters.sdtv3_dense': 'converters.dense',
    'datasets.event_mix': 'classifiers.event_mix',
    'datasets.event_preprocessor': 'classifiers.event_preprocessor',
    'datasets.events': 'events',
    'datasets.events.digits': 'datasets.recorded_digits',
    'evaluation.accuracy_over_time': 'classifiers.accuracy_over_time',
    'neurons.kernels.device': 'neurons.kernels.cuda',
    'neurons.kernels.host': 'neurons.kernels.cpu',
    'utils.checkpoint': 'files',
    'utils.checks': 'checks',
    'utils.config': 'apis.config',
    'utils.cpu_threads': 'cpu_threads',
    'utils.evaluation': 'apis.evaluation',
    'utils.finite': 'finite',
    'utils.firing_rate': 'recorders.firing_rates',
    'utils.folder_lock': 'folder_lock',
    'utils.hooks': 'thread_hooks',
    'utils.inference': 'apis.inference',
    'utils.launch': 'apis.launch',
    'utils.pickle_names': 'pickle_names',
    'utils.pretrained': 'pretrained',
    'utils.resume': 'apis.resume',
    'utils.seeding': 'seeding',
    'utils.settings': 'apis.settings',
    'utils.spike_sums': 'recorders.spike_sums',
    'utils.unread': 'apis.unread',
    'utils.versions': 'versions',
    'utils.wording': 'wording',
    'visualization.attention_maps': 'recorders.attention_maps',
    'visualization.firing_maps': 'recorders.firing_maps',
}
# Packages that are no more -> where the names that they exported are now.
PACKAGES: dict[str, tuple[str, ...]] = {
    'conversion': ('ann2snn', 'converters'),
    'evaluation': ('classifiers',),
    'utils': (),
}
# Modules that only tools used -> where in the repository their content is now.
GONE = {
    'conversion.command_line': 'tools/model_converters',
    'masking.plots': 'tools/analysis_tools/rsm_plot.py',
    'masking.sweep': 'tools/analysis_tools/rsm_points.py',
}


def moved_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module out of which names have moved.

    Args:
        module: Full name of the module.
        names: Old name -> where it is now, ``'package.module:name'`` without ``'mmspike.'``, or the
            file of the repository where the only tool that uses it has it: asking for that is an
            ``ImportError``, because ``from module import name`` hides other messages.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        if names[name].endswith('.py'):
            raise ImportError(_gone(f'{module}.{name}', names[name]))
        place, _, new = names[name].partition(':')
        _warn(f'{module}.{name}', f'mmspike.{place}.{new}')
        return getattr(import_module(f'mmspike.{place}'), new)

    return find


def old_package(name: str) -> ModuleType:
    """A package of before as an attribute of ``mmspike``; the package's ``__getattr__``.

    Raises:
        AttributeError: There was none of that name.
    """
    if name not in PACKAGES:
        raise AttributeError(f"module 'mmspike' has no attribute {name!r}")
    return import_module(f'mmspike.{name}')


def _gone(old: str, file: str) -> str:
    return f'{old} is no part of mmspike any more: the tools that use it have it, see {file}'


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
        if name in GONE:
            return ModuleSpec(fullname, _GoneModule())
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


class _GoneModule(Loader):
    """Says where the content of a module is."""

    def create_module(self, spec: ModuleSpec) -> None:
        file = GONE[spec.name.removeprefix('mmspike.')]
        raise ModuleNotFoundError(_gone(spec.name, file), name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Never called."""


class _OldPackage(Loader):
    """Looks for the names of a package that was divided in its parts."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        package = old.removeprefix('mmspike.')
        parts = PACKAGES[package]

        def find(name: str) -> Any:
            if name == '__all__':  # of import *
                return [name for part in parts for name in import_module(f'mmspike.{part}').__all__]
            if f'{package}.{name}' in MODULES:  # that nobody has imported
                new = f'mmspike.{MODULES[f"{package}.{name}"]}'
                _warn(f'{old}.{name}', new)
                return import_module(new)
            for part in parts if not name.startswith('_') else ():
                found = getattr(import_module(f'mmspike.{part}'), name, None)
                if found is not None:
                    _warn(f'{old}.{name}', f'mmspike.{part}.{name}')
                    return found
            raise AttributeError(f'module {old!r} has no attribute {name!r}')

        module.__getattr__ = find  # type: ignore[method-assign]  # as PEP 562 has it


def keep_old_paths() -> None:
    """Make the old paths importable. The package calls this once."""
    sys.meta_path.insert(0, _OldPaths())
