"""A second copy of a module, which has noted nothing yet."""

import importlib.util
from types import ModuleType


def loaded_anew(module: ModuleType) -> ModuleType:
    """Execute a module's file once more; the module itself stays what it is."""
    spec = importlib.util.spec_from_file_location(f'{module.__name__}_anew', module.__file__)
    anew = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(anew)
    return anew
