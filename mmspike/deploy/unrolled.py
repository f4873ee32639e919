"""Converted networks that are simulated, as networks that run all their steps at once."""

import copy
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmspike.ann2snn.constant import repeat
from mmspike.ann2snn.simulation import Simulation
from mmspike.execution.replacement import find_replacement
from mmspike.layers import TemporalMean
from mmspike.temporal import TemporalModule, unfold_time


def unrolled(model: nn.Module) -> nn.Module:
    """A copy of a model for an export: without its simulation, if it has one.

    A simulation runs chunk after chunk from Python. The copy repeats the input T times where the
    simulation did, and averages over all T steps at its read-out.

    Args:
        model: Any model; not changed.
    """
    model = copy.deepcopy(model).eval()
    simulation: Any = getattr(model, 'simulation', None)
    if not isinstance(simulation, Simulation):
        return model
    replacement = find_replacement(model, simulation.run)
    if replacement is not None:
        replacement.restore()
    for module in model.modules():
        _drop_hooks(module, simulation)
    del model.simulation
    timesteps = simulation.timesteps

    def repeated(module: nn.Module, args: tuple) -> tuple:
        return tree_map(lambda x: repeat(x, timesteps) if isinstance(x, Tensor) else x, args)

    def averaged(module: nn.Module, args: tuple, out: Any) -> Any:
        return tree_map(lambda x: unfold_time(x, timesteps).mean(0), out)

    first = model.get_submodule(simulation.input_module)
    if not isinstance(first, TemporalModule):  # one of mmspike's repeats its input itself
        first.register_forward_pre_hook(repeated)
    last = model.get_submodule(simulation.readout_module)
    if not isinstance(last, TemporalMean):
        last.register_forward_hook(averaged)
    return model


def _drop_hooks(module: nn.Module, simulation: Simulation) -> None:
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        for key, hook in list(hooks.items()):
            if getattr(hook, '__self__', None) is simulation:
                del hooks[key]
