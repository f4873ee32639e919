"""Which modules of a model are layers of neurons, by what they do."""

from torch import nn

from mmspike.claims.parts import is_neuron
from mmspike.claims.traces import MODEL, Trace
from mmspike.claims.values import SILENT, Values, joined, values_of


def neurons_of(model: nn.Module, trace: Trace) -> tuple[set[str], list[str]]:
    """Layers of neurons, and those of them that fired nothing.

    A layer of neurons is what takes real numbers and puts out spikes first, whatever its class: the
    outermost module that does so and has no weights of layers, nor a part for real numbers, which
    would be a layer of its own.
    """
    modules = dict(model.named_modules())
    taken: dict[str, Values] = {}
    given: dict[str, Values] = {}
    for moment in trace.moments:
        if moment.tensors and moment.tensors[0].is_floating_point():
            into = given if moment.done else taken
            values = values_of(moment.tensors[0])
            into[moment.layer] = joined(into.get(moment.layer), values)
    known = {name for name, module in modules.items() if is_neuron(module)}
    real = {name for name, values in given.items() if not values.spikes}
    found = {
        name
        for name, values in given.items()
        if name in known
        or (
            name != MODEL
            and name in taken
            and not taken[name].spikes
            and values.spikes
            and values.kind != SILENT
            and not _has_weights(modules[name])
            and not _inside(name, known | real)
        )
    }
    outermost = {name for name in found if not any(name.startswith(f'{other}.') for other in found)}
    silent = [name for name in given if name in outermost and given[name].kind == SILENT]
    return outermost, silent


def _inside(name: str, others: set[str]) -> bool:
    return any(other.startswith(f'{name}.') for other in others)


def _has_weights(module: nn.Module) -> bool:
    """Whether a module has weights of a layer; a number for each neuron or channel is none."""
    return any(sum(size > 1 for size in p.shape) > 1 for p in module.parameters())
