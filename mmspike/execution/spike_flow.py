"""Following spikes from the neurons that fire them to the layers that take them.

While a :class:`SpikeFlow` is active, neurons hand out :class:`SpikeTrain` tensors. They stay spike
trains where values are only moved (reshaped, transposed, padded, max-pooled) and where two of them
are multiplied element by element, so that a convolution or a product of an attention knows the
value of a spike and the largest number of spikes. All other functions get plain tensors.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from threading import get_ident
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from mmspike.execution.compiled import compiled_parts, is_traced, refuse
from mmspike.execution.replacement import replace
from mmspike.execution.spike_train import SpikeTrain, forget, unmarked, without_flow
from mmspike.execution.torch_functions import (
    ASKING,
    MASKS,
    PRODUCTS,
    WEIGHT_LAYERS,
    by_position,
    moves,
)
from mmspike.neurons import BaseNeuron
from mmspike.wording import some_of


class _OpenFlows(threading.local):
    def __init__(self) -> None:
        self.stack: list[SpikeFlow] = []


# Flows that this thread has opened, the innermost last. It alone follows calls, and tells the
# others of them.
_open = _OpenFlows()
# Held while a thread takes a flow for itself.
_opening = threading.Lock()


# The inside of a neuron is half of all calls and concerns no flow. Some kernels run faster unseen.
def _run_unseen(neuron: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
    with without_flow():
        return forward(*args, **kwargs)


def _holds_weights(neuron: BaseNeuron) -> bool:
    """Whether a user's neuron contains layers or matrices, which flows must follow."""
    own = (*neuron.parameters(recurse=False), *neuron.buffers(recurse=False))
    return bool(neuron._modules) or any(tensor.dim() > 1 for tensor in own)


class SpikeFlow(TorchFunctionMode):
    """Follows the spikes of a model's neurons; by itself it changes no result.

    Subclasses say what happens where spikes arrive, in :meth:`weight_layer`, :meth:`product` and
    :meth:`other`, and may look at functions without spikes in :meth:`analog`. Those that only look
    override :meth:`watch` instead and set ``watches_only``: of several open flows, all see
    every call, and the innermost of the others executes it.

    No flow, and no other mode of torch's functions, sees the inside of a neuron, unless it has
    modules, or parameters or buffers of two dimensions and more.

    A flow belongs to the thread that opens it: calls of the model by other threads are not followed
    and return the usual results. Each thread may open flows of its own on the same model.

    Args:
        model: A model with neurons of mmspike.

    Raises:
        CompiledError: When the block begins: the model, or a part of it, is compiled. Inside the
            block: a call of the model is compiled, exported or traced.
        RuntimeError: When the block begins: the flow is open already. When it ends: another thread
            opened it.
    """

    watches_only = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._root = model
        self._names = {module: name for name, module in model.named_modules()}
        self._modules: list[nn.Module] = []
        self._hooks = ExitStack()  # and replacements
        self._thread: int | None = None  # that opened it

    def __getstate__(self) -> dict[str, Any]:
        # The hooks of a model that is copied inside the block hold a closed copy of the flow.
        return {**vars(self), '_thread': None, '_modules': [], '_hooks': ExitStack()}

    @property
    def layer(self) -> str:
        """Name of the innermost module that is running; empty outside of all."""
        return self._names[self._modules[-1]] if self._modules else ''

    def __enter__(self) -> Self:
        compiled = compiled_parts(self._root)
        if compiled:
            self._refuse(f'{some_of(compiled)} is compiled')
        with _opening:
            if self._thread is not None:
                raise RuntimeError(
                    f'this {type(self).__name__} is open already: every block, and every thread, '
                    'takes one of its own'
                )
            self._thread = get_ident()
        try:
            with ExitStack() as hooks:
                self.register(hooks)
                super().__enter__()
                self._hooks = hooks.pop_all()
        except BaseException:
            self._thread = None
            raise
        _open.stack.append(self)
        return self

    def register(self, hooks: ExitStack) -> None:
        """Register the hooks of the block at the model, and their removal at ``hooks``."""
        for module in self._names:
            hooks.callback(module.register_forward_pre_hook(self._enter_module).remove)
            if isinstance(module, BaseNeuron):
                hooks.callback(module.register_forward_hook(self._mark).remove)
                if not _holds_weights(module):
                    hooks.callback(replace(module, _run_unseen, lasting=False).restore)
            leave = module.register_forward_hook(self._leave_module, always_call=True)
            hooks.callback(leave.remove)

    @classmethod
    def is_open_for(cls, module: nn.Module) -> bool:
        """Whether a flow of this class follows a model that ``module`` is a part of."""
        return any(isinstance(flow, cls) and module in flow._names for flow in _open.stack)

    def __exit__(self, *exc_info: object) -> None:
        if self._thread != get_ident():
            raise RuntimeError(
                f'this {type(self).__name__} was opened by another thread, which has to close it'
            )
        _open.stack.remove(self)
        self._hooks.close()
        self._modules.clear()
        self._thread = None
        super().__exit__(*exc_info)

    def _refuse(self, reason: str) -> None:
        refuse(
            f'{reason}, but {type(self).__name__} follows every function of the model in Python: '
            'use the uncompiled model inside the block; compile, export or trace a model outside '
            'of it'
        )

    # Hooks see the calls of all threads. One look at the number of the thread costs nearly nothing.

    def _enter_module(self, module: nn.Module, inputs: tuple) -> tuple | None:
        if self._thread is None:
            return None
        if not self._modules and is_traced():
            self._refuse('the call is being compiled, exported or traced')
        if self._thread != get_ident():
            return None
        self._modules.append(module)
        # A neuron takes currents; spikes that are currents are numbers like others.
        return unmarked(inputs) if isinstance(module, BaseNeuron) else None

    def _leave_module(self, module: nn.Module, inputs: tuple, out: object) -> None:
        # A module that was running when the flow began was never entered.
        if self._thread == get_ident() and self._modules and self._modules[-1] is module:
            self._modules.pop()

    def _mark(self, neuron: BaseNeuron, inputs: tuple, out: Tensor) -> SpikeTrain | None:
        if self._thread != get_ident():
            return None
        steps = neuron.total_timesteps
        return SpikeTrain.of(out, float(neuron.spike_value), neuron.max_spikes, steps)

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _open.stack[-1] is not self:
            return func(*args, **kwargs)
        called = getattr(func, '__name__', '')
        if SpikeTrain not in types:
            if called in ASKING or called == '__get__':
                return func(*args, **kwargs)
            self._tell(func, args, kwargs)
            return self._actor.analog(func, args, kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            if called in ASKING:
                return func(*args, **kwargs)
            return self._with_spikes(func, called, args, kwargs)

    def _with_spikes(self, func: Callable, called: str, args: tuple, kwargs: dict) -> Any:
        args, kwargs = by_position(called, args, kwargs)
        self._tell(func, args, kwargs)
        if called in WEIGHT_LAYERS and isinstance(args[0], SpikeTrain):
            return self._actor.weight_layer(func, args, kwargs)
        if called in PRODUCTS:
            return self._actor.product(func, args, kwargs)
        if called in MASKS and all(isinstance(x, SpikeTrain) for x in args):
            return self._mask(func, *args)
        trains = [x for x in tree_leaves((args, kwargs)) if isinstance(x, SpikeTrain)]
        if not moves(func, called, args, kwargs, trains):
            out = self._actor.other(func, args, kwargs)
            if called.endswith('_') and not called.endswith('__'):
                forget(args[0])
            return out
        out = func(*unmarked(args), **unmarked(kwargs))
        # Joined, they fire as many as the one that fires most.
        mark = max(trains, key=lambda x: x.max_spikes).like
        if called == '__iter__':
            return map(mark, out)
        return tree_map(
            lambda x: mark(x) if isinstance(x, Tensor) and x.is_floating_point() else x, out
        )

    @staticmethod
    def _mask(func: Callable, left: SpikeTrain, right: SpikeTrain) -> SpikeTrain:
        """Spikes of two trains times each other: binary ones stay where the others are as well."""
        return SpikeTrain.of(
            func(left.plain(), right.plain()),
            left.spike_value * right.spike_value,
            left.max_spikes * right.max_spikes,
            max(left.timesteps, right.timesteps),
        )

    @property
    def _actor(self) -> 'SpikeFlow':
        return next((flow for flow in reversed(_open.stack) if not flow.watches_only), self)

    @staticmethod
    def _tell(func: Callable, args: tuple, kwargs: dict) -> None:
        for flow in _open.stack:
            flow.watch(func, args, kwargs)

    def watch(self, func: Callable, args: tuple, kwargs: dict) -> None:
        """A function is about to be called; spikes among its arguments are marked.

        Flows do not see functions that only ask for a shape or a flag, nor the inside of neurons.
        """

    def weight_layer(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A layer of :data:`WEIGHT_LAYERS` takes spikes: the first of ``args``."""
        return func(*unmarked(args), **unmarked(kwargs))

    def product(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A matrix product of :data:`PRODUCTS` takes spikes on one side or on both: ``args``."""
        return func(*unmarked(args), **unmarked(kwargs))

    def other(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Any other function takes spikes; its output is an ordinary tensor."""
        return func(*unmarked(args), **unmarked(kwargs))

    def analog(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A function without spikes among its arguments."""
        return func(*args, **kwargs)
