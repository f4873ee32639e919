"""Old names of arguments and attributes. They work for one release, with a warning."""

import functools
import warnings
from collections.abc import Callable
from typing import Any


def warn_renamed(what: str, new: str, stacklevel: int = 3) -> None:
    """Warn that something has another name now.

    Args:
        what: The old name, for instance ``'simulate(answer=...)'``.
        new: The new one.
        stacklevel: Frames up to the user's line, as in :func:`warnings.warn`.
    """
    warnings.warn(
        f'{what} is deprecated and will be removed after the next release: use {new}',
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def renamed_arguments(**names: str) -> Callable[[Callable], Callable]:
    """Let a function take arguments by their old names as well.

    Args:
        **names: Old name to new name.
    """

    def decorate(function: Callable) -> Callable:
        # A class for its constructor.
        name = function.__qualname__.removesuffix('.__init__').rpartition('.')[2]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old in kwargs.keys() & names.keys():
                new = names[old]
                if new in kwargs:
                    raise TypeError(f'{name} got {new} twice: {old} is its old name')
                warn_renamed(f'{name}({old}=...)', f'{new}=...')
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


class OldName(property):
    """A property by an old name, which warns; see :class:`WithOldNames`."""


class WithOldNames:
    """Mixin of classes with old names.

    ``dir`` leaves them out. So ``inspect.getmembers``, ``torch.jit.trace`` and others that ask for
    every attribute of an object do not meet their warnings.
    """

    def __dir__(self) -> list[str]:
        cls = type(self)
        return [x for x in super().__dir__() if not isinstance(getattr(cls, x, None), OldName)]


def renamed_attribute(old: str, new: str) -> OldName:
    """A property of the old name for an attribute of the new one; see :class:`WithOldNames`."""

    def get(self: object) -> Any:
        warn_renamed(f'{type(self).__name__}.{old}', f'{type(self).__name__}.{new}')
        return getattr(self, new)

    return OldName(get, doc=f'Deprecated: use :attr:`{new}`.')
