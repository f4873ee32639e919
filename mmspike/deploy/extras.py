"""The libraries of ``mmspike[deploy]``, which only this package needs."""

from importlib import import_module
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
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        top = library.partition('.')[0]
        if error.name != top:  # a library that it needs itself
            raise
        raise MissingExtraError(
            f"{top} is not installed: pip install 'mmspike[{extra}]'"
        ) from error
