"""Finding the graph of a network: one call, watched."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from mmspike.deploy.nir import dynamics, layers
from mmspike.deploy.nir.library import nir
from mmspike.deploy.nir.neurons import Integrator, NIRNeuron
from mmspike.deploy.nir.refusals import FUNCTIONS, reason_against
from mmspike.deploy.nir.soft_reset import write_soft_reset
from mmspike.layers import DropPath
from mmspike.neurons import IF, LIF, PLIF, BaseNeuron, SpikingQCFS

# Modules that change nothing in evaluation mode.
UNCHANGED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, DropPath)
NEURONS: dict[type, Callable[[Any, layers.Shape, float], nir.NIRNode]] = {
    IF: dynamics.write_if,
    LIF: dynamics.write_lif,
    PLIF: dynamics.write_lif,
    SpikingQCFS: write_soft_reset,
    NIRNeuron: dynamics.write_general,
    Integrator: dynamics.write_general,
}
SUMS = {'add', 'add_', '__add__', '__radd__', '__iadd__'}
FLATTENINGS = {'flatten', 'reshape', 'view'}
COPIES = {'contiguous', 'clone', 'detach'}

# The nodes whose outputs add up to a tensor.
Sources = tuple[str, ...]


class Tracer(TorchFunctionMode):
    """Watches one call of a model: which module takes the sums of which outputs.

    Modules that are a node of NIR are taken whole; into the others it looks. There, only sums and
    flattening are nodes or edges.

    Args:
        model: In evaluation mode. Hooks are left on it.
        dt: Length of a time step in seconds.
    """

    def __init__(self, model: nn.Module, dt: float) -> None:
        super().__init__()
        self.model = model
        self.dt = dt
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        # Tensors are kept, or another one could get the number of one that is gone.
        self._known: dict[int, tuple[Tensor, Sources]] = {}
        self._modules: list[tuple[str, nn.Module]] = []
        self._inside_node = False

    def trace(self, sample: Tensor) -> nir.NIRGraph:
        """Run the model and return its graph.

        Raises:
            ValueError: It cannot be expressed.
        """
        for name, module in self.model.named_modules():
            module.register_forward_pre_hook(self._enter(name), with_kwargs=True)
            module.register_forward_hook(self._leave)
        self.nodes['input'] = nir.Input(list(sample.shape[1:]))
        self._batch = len(sample)
        with self:
            # A tensor of its own: the caller's may be a parameter of the model, or shared.
            sample = sample.detach().clone()
            self._know(sample, ('input',))
            out = self.model(sample)
        if not isinstance(out, Tensor):
            raise ValueError(
                f'{type(self.model).__name__} returns a {type(out).__name__}; a graph of NIR needs '
                'one tensor: wrap the model in a module that returns it'
            )
        sources = self._sources(out, 'the output of the model')
        self.nodes['output'] = nir.Output(list(out.shape[1:]))
        self.edges += [(source, 'output') for source in sources]
        return nir.NIRGraph(self.nodes, self.edges)

    # --- Modules ----------------------------------------------------------------------------------

    def _enter(self, name: str) -> Callable:
        def enter(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self._modules.append((name, module))
            if self._inside_node:
                return
            reason = reason_against(module)
            if reason is not None:
                self._refuse(reason)
            self._inside_node = _is_node(module) or isinstance(module, UNCHANGED)

        return enter

    def _leave(self, module: nn.Module, args: tuple, out: Any) -> None:
        if self._inside_node and (_is_node(module) or isinstance(module, UNCHANGED)):
            self._inside_node = False
            if len(args) != 1 or not isinstance(args[0], Tensor):
                self._refuse('it must be called with one tensor')
            if isinstance(module, UNCHANGED):
                self._know(out, self._sources(args[0], 'its input'))
            else:
                self._add_module(module, args[0], out)
        self._modules.pop()

    def _add_module(self, module: nn.Module, x: Tensor, out: Tensor) -> None:
        shape = tuple(x.shape[1:])
        if isinstance(module, BaseNeuron) and module.masking_ratio:
            self._refuse(f'it masks spikes at random (masking_ratio={module.masking_ratio})')
        try:
            node = self._node(module, shape)
        except ValueError as error:
            self._refuse(str(error))
        self._add(node, self._modules[-1][0] or type(module).__name__.lower(), x, out)

    def _node(self, module: Any, shape: layers.Shape) -> nir.NIRNode:
        if getattr(module, 'v_reset', 0.0) is None:
            return write_soft_reset(module, shape, self.dt)
        if type(module) in NEURONS:
            return NEURONS[type(module)](module, shape, self.dt)
        return layers.WRITERS[type(module)](module, shape)

    # --- Functions --------------------------------------------------------------------------------

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = any(isinstance(x, Tensor) for x in tree_leaves(out))
        if made and not self._inside_node and any(id(x) in self._known for x in given):
            self._follow(func.__name__, given, kwargs, out)
        return out

    def _follow(self, name: str, given: list[Tensor], kwargs: dict, out: Any) -> None:
        """A function outside of nodes, which takes tensors of the graph."""
        x = given[0]
        if name in SUMS and len(given) == 2 and not kwargs:
            self._add_up(given, out)
        elif name in COPIES or (name in FLATTENINGS and out.shape == x.shape):
            self._know(out, self._sources(x, 'the input'))
        elif name in FLATTENINGS and out.dim() == 2 and len(out) == len(x):
            node = nir.Flatten({'input': np.array(x.shape[1:])}, 0, -1)
            self._add(node, '.'.join(filter(None, (self._modules[-1][0], name))), x, out)
        else:
            reason = FUNCTIONS.get(name, 'NIR has no node for it')
            self._refuse(f'it calls {name} on tensors of shape {tuple(x.shape)}: {reason}')

    def _add_up(self, given: list[Tensor], out: Tensor) -> None:
        if given[0].shape != given[1].shape:
            shapes = ' and '.join(str(tuple(x.shape)) for x in given)
            self._refuse(f'it adds tensors of different shapes, {shapes}')
        # The longer sum first: edges are added up in their order, from the left.
        sums = sorted((self._sources(x, 'a summand') for x in given), key=len, reverse=True)
        self._know(out, (*sums[0], *sums[1]))

    # --- The graph --------------------------------------------------------------------------------

    def _add(self, node: nir.NIRNode, name: str, x: Tensor, out: Tensor) -> None:
        """Add a node and the edges into it."""
        if len(out) != self._batch:
            self._refuse(f'it changes the batch size from {self._batch} to {len(out)}')
        sources = self._sources(x, 'its input')
        unique, number = name, 1
        while unique in self.nodes:
            unique, number = f'{name}_{number}', number + 1
        if not isinstance(node, nir.NIRGraph):
            # nir 1.0.8 is wrong about grouped convolutions and windows that are no squares.
            node.input_type = {'input': np.array(x.shape[1:])}
            node.output_type = {'output': np.array(out.shape[1:])}
        self.nodes[unique] = node
        self.edges += [(source, unique) for source in sources]
        self._know(out, (unique,))

    def _know(self, x: Tensor, sources: Sources) -> None:
        if len(set(sources)) < len(sources):
            self._refuse('it adds a tensor to itself, and NIR has one edge between two nodes')
        self._known[id(x)] = x, sources

    def _sources(self, x: Tensor, role: str) -> Sources:
        if id(x) not in self._known:
            self._refuse(f'{role} does not come from the input of the model, but is a constant')
        return self._known[id(x)][1]

    def _refuse(self, reason: str) -> NoReturn:
        name, module = self._modules[-1] if self._modules else ('', self.model)
        where = f'{name} ({type(module).__name__})' if name else type(module).__name__
        raise ValueError(f'{where} cannot be written to NIR: {reason}')


def _is_node(module: nn.Module) -> bool:
    return type(module) in NEURONS or type(module) in layers.WRITERS
