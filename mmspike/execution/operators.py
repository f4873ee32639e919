"""The operators that a model runs below PyTorch's Python functions, and the layers they are in."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from mmspike.thread_hooks import of_this_thread

# Operators that multiply, and where their activations stand; of a product either may be binary. An
# attention with softmax, in one operator, has nothing binary to multiply.
MULTIPLYING = {
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


class OperatorWatcher(TorchDispatchMode):
    """Sees every operator of a model that takes more than weights.

    What is computed from weights alone, such as a convolution that is folded, is a weight again.

    Args:
        model: The model.
        layer: Tells the name of the module that is running, see :func:`running_layer`.
    """

    def __init__(self, model: nn.Module, layer: Callable[[], str]) -> None:
        super().__init__()
        self._layer = layer
        self._weights = WeakIdKeyDictionary()
        for weight in (*model.parameters(), *model.buffers()):
            self._weights[weight] = True

    @abstractmethod
    def multiplies(self, layer: str, operator: str, factors: list[Tensor]) -> None:
        """An operator of :data:`MULTIPLYING` is about to run on these activations."""

    def other(self, layer: str, operator: str, args: tuple) -> None:
        """Any other operator is about to run."""

    def made(self, operator: str, args: tuple, out: Any) -> None:
        """An operator has run."""

    def is_weight(self, x: Tensor) -> bool:
        """Whether a tensor is a weight, or was computed from weights alone."""
        return x in self._weights

    def __torch_dispatch__(
        self, func: OpOverload, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if operands and all(map(self.is_weight, operands)):
            out = func(*args, **kwargs)
            for made in tree_leaves(out):
                if isinstance(made, Tensor):
                    self._weights[made] = True
            return out
        operator = func.overloadpacket.__name__
        places = MULTIPLYING.get(operator)
        if places is None:
            # Inference mode hands composed operators over in one piece: look inside.
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
            self.other(self._layer(), operator, args)
        else:
            self.multiplies(self._layer(), operator, [args[place] for place in places])
        out = func(*args, **kwargs)
        self.made(operator, args, out)
        return out


@contextmanager
def running_layer(model: nn.Module) -> Iterator[Callable[[], str]]:
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
