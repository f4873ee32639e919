"""Whether a model does the same on integers and on binary spikes."""

import torch
from torch import Tensor, nn

from mmspike.claims.claim import BROKEN, HOLDS, NOT_SHOWN, Claim, Place
from mmspike.claims.gaps import MOST_TIES, far_apart
from mmspike.claims.subject import CANNOT_RUN, Subject, reason
from mmspike.execution import EXECUTIONS
from mmspike.execution.compare import layer_outputs
from mmspike.neurons import BaseNeuron

NAME = 'bias once, 1/norm in weights'
INTEGER = EXECUTIONS[0]


def check_executions(subject: Subject) -> Claim:
    """Bias enters once, and 1/norm is a factor of the weights: integers and spikes agree."""
    model = subject.model
    neurons = [module for module in model.modules() if isinstance(module, BaseNeuron)]
    if not neurons:
        return Claim(NAME, NOT_SHOWN, 'the model has no neurons of mmspike to run on spikes')
    most = max(neuron.max_spikes for neuron in neurons)
    ties = 0
    try:
        integers = _outputs(subject, INTEGER)
        for execution in EXECUTIONS[1:]:
            spikes = _outputs(subject, execution)
            for name in integers:
                if name not in spikes:
                    continue  # inside of a chain that takes spikes as one convolution
                layer = model.get_submodule(name)
                wrong = _difference(layer, integers[name], spikes[name])
                if isinstance(wrong, str):
                    return Claim(NAME, BROKEN, f'on {execution}: {wrong}', (Place(name),))
                ties += wrong
            if ties:
                break  # what follows a tie is another computation
    except CANNOT_RUN as error:
        return Claim(NAME, NOT_SHOWN, reason(error))
    finding = f'{len(integers)} layers do the same on integers and on slots (at most {most} spikes)'
    return Claim(NAME, HOLDS, finding + (f' but for {ties} ties' if ties else ''))


def _outputs(subject: Subject, execution: str) -> dict[str, list[Tensor]]:
    model = subject.fresh()
    return layer_outputs(model, lambda: subject.run(model, subject.inputs), execution)


def _difference(layer: nn.Module, ours: list[Tensor], theirs: list[Tensor]) -> str | int:
    """What is wrong with a layer's outputs on spikes, or how many of its spikes are ties."""
    if [x.shape for x in ours] != [x.shape for x in theirs]:
        return f'the layer ran {len(theirs)} times, on integers {len(ours)} times'
    one, other = (torch.cat([x.flatten() for x in xs]) for xs in (ours, theirs))
    apart = far_apart(one, other)
    if not apart.any():
        return 0
    if isinstance(layer, BaseNeuron) and float(apart.double().mean()) <= MOST_TIES:
        return int(apart.sum())
    return _reason(layer, ours[0], theirs[0]) or (
        f'outputs differ by up to {float((one - other).abs().max()):.3g}'
    )


def _reason(layer: nn.Module, one: Tensor, other: Tensor) -> str | None:
    """Why the outputs of a layer differ: by its bias, or by a factor."""
    bias = getattr(layer, 'bias', None)
    if isinstance(bias, Tensor) and bias.abs().max() > 0:
        more = other - one
        if not isinstance(layer, nn.Linear):
            more = more.movedim(1, -1)
        times = (more * bias).sum() / (bias.expand_as(more) ** 2).sum()
        if not far_apart(more, (times * bias).expand_as(more)).any():
            return f'its bias enters {1 + times.item():.3g} times'
    factor = (one * other).sum() / (one**2).sum()
    if not far_apart(other, factor * one).any():
        return f'its outputs are {factor.item():.4g} times as large'
    return None
