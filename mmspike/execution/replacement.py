"""Replacing the ``forward`` of one module for a while: the only place of mmspike that does it.

A hook can look at a call, or change what goes in and out. Only a replaced ``forward`` can leave a
call out, repeat it, or run it inside a ``with`` block that ends whatever happens.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

# Called as around(module, forward, args, kwargs). It calls ``forward`` as often as it likes.
Around = Callable[[nn.Module, Callable, tuple, dict], Any]
_changing = threading.Lock()


class Replacement:
    """One replacement of a module's ``forward``. :meth:`restore` ends it."""

    def __init__(self, stack: '_Stack', around: Around, lasting: bool) -> None:
        self._stack = stack
        self._around = around
        self._lasting = lasting

    def restore(self) -> None:
        """End this replacement. Others of the same module stay. A second call does nothing."""
        with _changing:
            self._stack.remove(self)


def replace(module: nn.Module, around: Around, *, lasting: bool = True) -> Replacement:
    """Let ``around(module, forward, args, kwargs)`` run whenever ``module`` is called.

    Replacements of one module form a stack. The last one is the outermost: its ``forward`` runs the
    one before, and so on down to the module's own. They may be restored in any order and by any
    thread. A running call is not affected. With the last one, the module gets back the ``forward``
    that it had, its class's or its own. One that somebody assigned on top meanwhile stays.

    A shallow copy shares the attributes of the module, so it would run the module in its own place.
    It is refused. The replicas of ``nn.DataParallel`` are shallow copies as well, but nothing can
    check them: use ``DistributedDataParallel``, or one GPU.

    Args:
        module: Any module; changed in place.
        around: A function of a module of Python, a bound method or another object that can be
            called.
        lasting: Copies and pickles of the module keep the replacement; ``around`` has to allow
            that. Otherwise they are without it: it belongs to a block of code or to one call.

    Raises:
        RuntimeError: ``module`` is a shallow copy of a module with replacements.
    """
    with _changing:
        stack = _Stack.of(module)
        if stack is None:
            stack = _Stack(module)
            # A bound method: what exports a model asks for the code of its forward.
            module.forward = stack.run
        replacement = Replacement(stack, around, lasting)
        stack.replacements = (*stack.replacements, replacement)
    return replacement


def find_replacement(module: nn.Module, around: Around) -> Replacement | None:
    """The outermost replacement of ``module`` by ``around``; None if there is none.

    Raises:
        RuntimeError: ``module`` is a shallow copy of a module with replacements.
    """
    stack = _Stack.of(module)
    found = [x for x in stack.replacements if x._around == around] if stack else []
    return found[-1] if found else None


class _Stack:
    """All replacements of a module. Its :meth:`run` takes the place of the module's ``forward``."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.own = vars(module).get('forward')  # of the instance; None is that of its class
        self.replacements: tuple[Replacement, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        lasting = tuple(x for x in self.replacements if x._lasting)
        return {**vars(self), 'replacements': lasting}

    @staticmethod
    def of(module: nn.Module) -> '_Stack | None':
        stack = getattr(vars(module).get('forward'), '__self__', None)
        if not isinstance(stack, _Stack):
            return None
        if stack.module is module:
            return stack
        if stack.module._modules is module._modules:
            raise RuntimeError(
                f'this {type(module).__name__} is a shallow copy of one whose forward is replaced, '
                'as spike-driven execution does; calls of it would run the original. Use '
                'copy.deepcopy(model)'
            )
        return None  # the forward of another module, which somebody assigned

    def run(self, *args: Any, **kwargs: Any) -> Any:
        forward = self.own or partial(type(self.module).forward, self.module)
        for replacement in self.replacements:
            forward = partial(self._call, replacement._around, forward)
        return forward(*args, **kwargs)

    def _call(self, around: Around, forward: Callable, *args: Any, **kwargs: Any) -> Any:
        return around(self.module, forward, args, kwargs)

    def remove(self, replacement: Replacement) -> None:
        self.replacements = tuple(x for x in self.replacements if x is not replacement)
        if self.replacements or _Stack.of(self.module) is not self:
            return
        del self.module.forward
        if self.own is not None:
            self.module.forward = self.own
