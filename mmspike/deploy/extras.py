"""The libraries of ``mmspike[deploy]``, which only this package needs."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


class MissingExtraError(ImportError):
    """A library that an extra of mmspike installs is not there."""


def needed(library: str, extra: str = 'deploy') -> ModuleType:
    """Import a library of an extra.

    Args:
        library: Its name.
        extra: The extra of mmspike that installs it.

    Raises:
        MissingExtraError: It is not installed; the message says how to get it.
    """
    if find_spec(library) is None:
        raise MissingExtraError(
            f"{library} is not installed: pip install 'mmspike[{extra}]', or pip install {library}"
        )
    return import_module(library)
