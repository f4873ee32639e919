"""A check of the actual inputs of all layers: a model runs on binary spikes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from mmspike.thread_hooks import of_this_thread

# Operators that multiply, and where their activations stand; of a product either may be binary. An
# attention with softmax, in one operator, has nothing binary to multiply.
_OPERATORS = {
    'convolution': (0,),
    'convolution_overrideable': (0,),
    'mkldnn_convolution': (0,),
    'mkldnn_linear': (0,),
    'mm': (0, 1),
    'bmm': (0, 1),
    'addmm': (1, 2),
    'baddbmm': (1, 2),
    'mv': (0, 1),
    'addmv': (1, 2),
    'dot': (0, 1),
    '_scaled_dot_product_flash_attention_for_cpu': (),
    '_scaled_dot_product_flash_attention': (),
    '_scaled_dot_product_efficient_attention': (),
    '_scaled_dot_product_cudnn_attention': (),
    '_native_multi_head_attention': (),
}


class SpikeDrivenError(RuntimeError):
    """A layer that should take binary spikes took something else."""


@dataclass(frozen=True)
class LayerInput:
    """The inputs of the operators of one layer.

    Attributes:
        layer: Name of the module that ran them.
        operators: Their names.
        binary: Whether every input, on one side at least of a product, was 0 or 1 everywhere.
        declared: Whether the architecture says that this layer is analog.
    """

    layer: str
    operators: tuple[str, ...]
    binary: bool
    declared: bool


class _Watcher(TorchDispatchMode):
    """Inspects the operands of multiplications, below PyTorch's Python functions.

    What is computed from weights alone, such as a convolution that is folded, is a weight again.
    """

    def __init__(self, model: nn.Module, layer: Callable[[], str]) -> None:
        super().__init__()
        self._layer = layer
        self._weights = WeakIdKeyDictionary()
        for weight in (*model.parameters(), *model.buffers()):
            self._weights[weight] = True
        self.seen: dict[str, tuple[set[str], bool]] = {}

    def __torch_dispatch__(
        self, func: OpOverload, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if operands and all(x in self._weights for x in operands):
            out = func(*args, **kwargs)
            for made in tree_leaves(out):
                if isinstance(made, Tensor):
                    self._weights[made] = True
            return out
        operator = func.overloadpacket.__name__
        places = _OPERATORS.get(operator)
        if places is None:
            # Inference mode hands composed operators over in one piece: look inside.
            with self:
                out = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if out is NotImplemented else out
        layer = self._layer()
        operators, binary = self.seen.get(layer, (set(), True))
        binary = binary and any(_is_binary(args[place]) for place in places)
        self.seen[layer] = (operators | {operator}, binary)
        return func(*args, **kwargs)


@contextmanager
def _running_layer(model: nn.Module) -> Iterator[Callable[[], str]]:
    """Track the name of the module that is running in this thread."""
    names = {module: name for name, module in model.named_modules()}
    running: list[nn.Module] = []
    handles = []

    def enter(module: nn.Module, inputs: tuple) -> None:
        running.append(module)

    def leave(module: nn.Module, inputs: tuple, out: object) -> None:
        if running and running[-1] is module:
            running.pop()

    for module in names:
        handles.append(module.register_forward_pre_hook(of_this_thread(enter)))
        handles.append(module.register_forward_hook(of_this_thread(leave), always_call=True))
    try:
        yield lambda: names[running[-1]] if running else ''
    finally:
        for handle in handles:
            handle.remove()


def _is_binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def declared_analog(model: nn.Module) -> set[str]:
    """The analog layers of a model's parts, from their attribute ``analog_layers``.

    It lists names of modules inside the part that has it: a backbone lists its first convolution.
    """
    return {
        f'{name}.{layer}' if name else layer
        for name, module in model.named_modules()
        for layer in getattr(module, 'analog_layers', ())
    }


@torch.no_grad()
def check_spike_driven(model: nn.Module, run: Callable[[], Any]) -> list[LayerInput]:
    """Run a model and check that every layer with weights, and every product, takes binary spikes.

    It looks below PyTorch's Python functions, at the factors of the real multiplications. It does
    not know where the spikes come from. Layers that the architecture leaves analog
    (``analog_layers``, see :func:`declared_analog`) may take any values.

    Args:
        model: A model in evaluation mode, switched by ``set_execution(model, 'spike')``.
        run: Calls the model, for instance ``lambda: model(images)``.

    Returns:
        The inputs of each layer, in the order in which the layers first ran.

    Raises:
        SpikeDrivenError: A layer that is not declared analog was given something else; the message
            names all of them.
        ValueError: The model is in training mode, or nothing was multiplied.
    """
    if model.training:
        raise ValueError('spike-driven execution is for evaluation: call model.eval() first')
    with _running_layer(model) as layer, _Watcher(model, layer) as watcher:
        run()
    if not watcher.seen:
        raise ValueError('nothing was multiplied: does `run` call the model?')
    declared = declared_analog(model)
    inputs = [
        LayerInput(layer, tuple(sorted(operators)), binary, layer in declared)
        for layer, (operators, binary) in watcher.seen.items()
    ]
    wrong = [
        one.layer or 'the model itself' for one in inputs if not one.binary and not one.declared
    ]
    if wrong:
        raise SpikeDrivenError(
            f'{len(wrong)} of {len(inputs)} layers took values other than 0 and 1: '
            f'{", ".join(wrong)}. Is it switched (mmspike.execution.set_execution)? A layer '
            "that the architecture leaves analog has to be listed in its part's analog_layers"
        )
    return inputs
