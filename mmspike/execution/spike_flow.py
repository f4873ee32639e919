"""Following spikes from the neurons that fire them to the layers that take them.

While a :class:`SpikeFlow` is active, neurons hand out :class:`SpikeTrain` tensors. They stay spike
trains where values are only moved (reshaped, transposed, padded, max-pooled) and where two of them
are multiplied element by element, so that whoever takes them, a convolution or a product of an
attention, can be told what a spike is worth and how many there can be. Everything else gets plain
tensors.
"""

import threading
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from mmspike.execution.compiled import compiled_parts, is_traced, refuse
from mmspike.neurons import BaseNeuron
from mmspike.utils.wording import some_of

# Functions that move or select values and make no new ones (but zeros), by name. Spikes are not
# negative, so that a ReLU is one of them.
_MOVING_NAMES = (
    'adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adjoint alias amax as_strided '
    'atleast_1d atleast_2d atleast_3d bfloat16 broadcast_to channel_shuffle chunk clone contiguous '
    'cpu cuda detach diagonal double dsplit expand expand_as flatten flip fliplr flipud float '
    'gather getitem half hsplit index_select iter masked_select max_pool1d max_pool2d max_pool3d '
    'max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices movedim '
    'moveaxis narrow native_channel_shuffle permute pixel_shuffle pixel_unshuffle ravel '
    'relu repeat repeat_interleave requires_grad reshape reshape_as roll rot90 select split '
    'split_with_sizes squeeze swapaxes swapdims t take take_along_dim tensor_split tile to '
    'transpose type type_as unbind unflatten unfold unsqueeze view view_as vsplit'
)
_MOVING = frozenset(_MOVING_NAMES.split())
# They move values as well, but only with certain arguments, or for several tensors.
_JOINING = frozenset(
    ('cat', 'concat', 'concatenate', 'stack', 'hstack', 'vstack', 'dstack', 'column_stack')
)
# They only ask for a shape or a flag: nobody is told of them. Half of all calls are such.
_ASKING = frozenset(
    ('__len__', '_set_grad_enabled', 'dim', 'is_contiguous', 'is_floating_point', 'ndimension',
     'numel', 'size', 'storage_offset', 'stride')
)  # fmt: skip
_VIEW_PROPERTIES = frozenset(('T', 'mT', 'H', 'mH', 'data'))
# Layers with weights: the spikes come first, then the weights, then the bias if there is one.
WEIGHT_LAYERS = frozenset(
    ('conv1d', 'conv2d', 'conv3d', 'conv_transpose1d', 'conv_transpose2d', 'conv_transpose3d',
     'linear')
)  # fmt: skip
PRODUCTS = frozenset(('matmul', 'bmm', 'mm', '__matmul__', '__rmatmul__'))
# Products element by element, by which binary spikes mask each other.
MASKS = frozenset(('mul', 'multiply', '__mul__', '__rmul__'))
_LEAVES = frozenset((Tensor, nn.Parameter, int, float, bool, str, type(None)))
# Run a block unseen by the flow, for its own arithmetic.
without_flow = torch._C.DisableTorchFunction
# What the first arguments are called where they are given by name.
_FIRST = {
    **dict.fromkeys(WEIGHT_LAYERS, (('input',), ('weight',), ('bias',))),
    **dict.fromkeys(PRODUCTS | MASKS, (('input',), ('other', 'mat2'))),
    'sum': (('input',), ('dim',)),
    **dict.fromkeys(_MOVING | _JOINING, (('input', 'tensors'),)),
}


class SpikeTrain(Tensor):
    """What neurons fired: multiples, from 0 to ``max_spikes``, of ``step_value``.

    Outside of a :class:`SpikeFlow` it behaves, and computes, like an ordinary tensor.

    Attributes:
        step_value: What one spike is worth.
        max_spikes: The most that a neuron fires in one time step: 1, or D of integer neurons.
        timesteps: Number of steps T of the neurons.
    """

    step_value: float
    max_spikes: int
    timesteps: int

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*unmarked(args), **unmarked(kwargs or {}))

    @staticmethod
    def of(x: Tensor, step_value: float, max_spikes: int, timesteps: int = 1) -> 'SpikeTrain':
        """Mark a tensor."""
        with without_flow():
            train = x.as_subclass(SpikeTrain)
        train.step_value, train.max_spikes = step_value, max_spikes
        train.timesteps = timesteps
        return train

    def like(self, x: Tensor) -> 'SpikeTrain':
        """Mark another tensor as holding the same spikes."""
        return SpikeTrain.of(x, self.step_value, self.max_spikes, self.timesteps)

    def plain(self) -> Tensor:
        """The values, without the mark."""
        with without_flow():
            return self.as_subclass(Tensor)

    def counts(self) -> Tensor:
        """Number of spikes, as floating-point numbers."""
        return torch.round(self.plain() / self.step_value)

    def slots(self) -> Iterator[Tensor]:
        """``max_spikes`` binary tensors whose sum is :meth:`counts`.

        The i-th holds a 1 where more than i spikes were fired.
        """
        counts = self.counts()
        for i in range(self.max_spikes):
            yield (counts > i).to(counts.dtype)


def unmarked(value: Any) -> Any:
    """``value``, or what is in it, without marks."""
    if isinstance(value, SpikeTrain):
        return value.plain()
    # What most functions are called with; tree_map takes as long for it as a small layer.
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind is tuple or kind is list:
        return kind([unmarked(x) for x in value])
    if kind is dict:
        return {key: unmarked(x) for key, x in value.items()}
    return tree_map(lambda x: x.plain() if isinstance(x, SpikeTrain) else x, value)


class _OpenFlows(threading.local):
    def __init__(self) -> None:
        self.stack: list[SpikeFlow] = []


# Flows that this thread has opened, the innermost last. It alone follows calls, and tells the
# others of them.
_open = _OpenFlows()
# Held while a thread takes a flow for itself.
_opening = threading.Lock()


def _forget(x: Any) -> None:
    """Take the mark off a tensor that was changed in place: it holds numbers now."""
    if isinstance(x, SpikeTrain):
        x.__class__ = Tensor


def _by_position(
    args: tuple, kwargs: dict, first: tuple[tuple[str, ...], ...]
) -> tuple[tuple, dict]:
    """Put arguments that were given by name where they stand by default."""
    kwargs = dict(kwargs)
    for names in first[len(args) :]:
        name = next((name for name in names if name in kwargs), None)
        if name is None:
            break
        args = (*args, kwargs.pop(name))
    return args, kwargs


class _Closed:
    """Takes the place of a neuron's ``forward``, whose inside concerns no flow.

    It is half of all calls, and some kernels run faster unseen. An object can be copied and pickled
    along with the neuron. Flows of several threads share it.
    """

    changing = threading.Lock()

    def __init__(self, neuron: BaseNeuron) -> None:
        self.neuron = neuron
        self.replaced = vars(neuron).get('forward')
        self.flows = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = self.replaced or type(self.neuron).forward.__get__(self.neuron)
        with without_flow():
            return forward(*args, **kwargs)

    @staticmethod
    def close(neuron: BaseNeuron) -> '_Closed':
        """Close a neuron for one more flow."""
        with _Closed.changing:
            closed = vars(neuron).get('forward')
            if not isinstance(closed, _Closed):
                closed = neuron.forward = _Closed(neuron)
            closed.flows += 1
            return closed

    def remove(self) -> None:
        """Open it, if this was the last flow."""
        with _Closed.changing:
            self.flows -= 1
            if not self.flows:
                del self.neuron.forward
                if self.replaced is not None:
                    self.neuron.forward = self.replaced


def _holds_weights(neuron: BaseNeuron) -> bool:
    """Whether a user's neuron has layers or matrices inside, which flows are to see."""
    own = (*neuron.parameters(recurse=False), *neuron.buffers(recurse=False))
    return bool(neuron._modules) or any(tensor.dim() > 1 for tensor in own)


class SpikeFlow(TorchFunctionMode):
    """Follows the spikes of a model's neurons; by itself it changes no result.

    Subclasses say what happens where spikes arrive, in :meth:`weight_layer`, :meth:`product` and
    :meth:`other`, and may look at functions without spikes in :meth:`analog`. Those that only look
    override :meth:`watch` instead and set ``watches_only``: of several open flows all are told what
    was called, and the innermost of the others does it.

    What a neuron does inside is seen by no flow and by no other mode of torch's functions, unless
    it has modules, or parameters or buffers of two dimensions and more.

    A flow belongs to the thread that opens it: calls of the model by other threads are not followed
    and give what they give without it. Each thread may open flows of its own on the same model.

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
        self._handles: list = []
        self._thread: int | None = None  # that opened it

    @property
    def layer(self) -> str:
        """Name of the innermost module that is running; empty outside of all."""
        return self._names[self._modules[-1]] if self._modules else ''

    def __enter__(self) -> 'SpikeFlow':
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
        for module in self._names:
            self._handles.append(module.register_forward_pre_hook(self._enter_module))
            if isinstance(module, BaseNeuron):
                self._handles.append(module.register_forward_hook(self._mark))
                if not _holds_weights(module):
                    self._handles.append(_Closed.close(module))
            self._handles.append(module.register_forward_hook(self._leave_module, always_call=True))
        _open.stack.append(self)
        return super().__enter__()

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
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._modules.clear()
        self._thread = None
        super().__exit__(*exc_info)

    def _refuse(self, reason: str) -> None:
        refuse(
            f'{reason}, and {type(self).__name__} has Python follow every function that the model '
            'calls: use the model that was given to torch.compile, uncompiled, inside the block; '
            'compile, export or trace a model outside of it'
        )

    # Hooks see the calls of all threads. One look at the number of the thread costs nearly nothing.

    def _enter_module(self, module: nn.Module, inputs: tuple) -> tuple | None:
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
        return SpikeTrain.of(out, float(neuron.step_value), neuron.max_spikes, steps)

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _open.stack[-1] is not self:
            return func(*args, **kwargs)
        called = getattr(func, '__name__', '')
        if SpikeTrain not in types:
            if called in _ASKING or called == '__get__':
                return func(*args, **kwargs)
            self._tell(func, args, kwargs)
            return self._actor.analog(func, args, kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            if called in _ASKING:
                return func(*args, **kwargs)
            return self._with_spikes(func, called, args, kwargs)

    def _with_spikes(self, func: Callable, called: str, args: tuple, kwargs: dict) -> Any:
        args, kwargs = _by_position(args, kwargs, _FIRST.get(called, ()))
        self._tell(func, args, kwargs)
        if called in WEIGHT_LAYERS and isinstance(args[0], SpikeTrain):
            return self._actor.weight_layer(func, args, kwargs)
        if called in PRODUCTS:
            return self._actor.product(func, args, kwargs)
        if called in MASKS and all(isinstance(x, SpikeTrain) for x in args):
            return self._mask(func, *args)
        trains = [x for x in tree_leaves((args, kwargs)) if isinstance(x, SpikeTrain)]
        if not self._moves(func, called, args, kwargs, trains):
            out = self._actor.other(func, args, kwargs)
            if called.endswith('_') and not called.endswith('__'):
                _forget(args[0])
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
            left.step_value * right.step_value,
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

    @staticmethod
    def _moves(
        func: Callable, called: str, args: tuple, kwargs: dict, trains: list[SpikeTrain]
    ) -> bool:
        if called == '__get__':
            return getattr(func.__self__, '__name__', '') in _VIEW_PROPERTIES
        name = called.strip('_')
        if name in _JOINING:
            return len(trains) == len(args[0]) and len({x.step_value for x in trains}) == 1
        if not args or not isinstance(args[0], SpikeTrain):
            return False
        if name == 'pad':
            mode, value = ([*args[2:], None, None])[:2]
            mode, value = kwargs.get('mode', mode), kwargs.get('value', value)
            return mode not in (None, 'constant') or not value
        if name == 'interpolate':
            return kwargs.get('mode', 'nearest') in ('nearest', 'nearest-exact')
        if name in ('dropout', 'dropout1d', 'dropout2d', 'dropout3d'):
            return not kwargs.get('training', args[2] if len(args) > 2 else True)
        return name in _MOVING

    def watch(self, func: Callable, args: tuple, kwargs: dict) -> None:
        """A function is about to be called; spikes among its arguments are marked.

        Flows are not told of those that only ask for a shape or a flag, nor of what neurons do.
        """

    def weight_layer(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A layer of :data:`WEIGHT_LAYERS` takes spikes: the first of ``args``."""
        return func(*unmarked(args), **unmarked(kwargs))

    def product(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A matrix product of :data:`PRODUCTS` takes spikes on one side or on both: ``args``."""
        return func(*unmarked(args), **unmarked(kwargs))

    def other(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Anything else takes spikes; what comes out is an ordinary tensor."""
        return func(*unmarked(args), **unmarked(kwargs))

    def analog(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """A function without spikes among its arguments."""
        return func(*args, **kwargs)
