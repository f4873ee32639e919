"""What the output of a neuron depends on, as plain numbers for an export."""

from functools import singledispatch
from typing import Any

from mmspike.neurons import IF, ILIF, LIF, PLIF, QCFS, SFA, BaseNeuron, SpikingQCFS
from mmspike.neurons.binary import BinaryNeuron
from mmspike.neurons.integer import IntegerNeuron


def settings_of(neuron: BaseNeuron, name: str) -> dict[str, Any]:
    """The settings of a neuron in evaluation mode.

    Args:
        neuron: A neuron of mmspike.
        name: Its name in the model.

    Returns:
        ``name``, ``kind`` (a function of :mod:`mmspike.deploy.lowering`), ``timesteps``,
        ``spike_value``, ``max_spikes``, and the numbers of its kind.

    Raises:
        ValueError: It carries its state from call to call, drops spikes at random, or is of a class
            that has no exported form.
    """
    if neuron.stateful and neuron.has_memory:
        raise ValueError(
            f'{name} carries its state from call to call (stateful=True), and an exported file has '
            'no state: call mmspike.neurons.set_stateful(model, False) first'
        )
    if neuron.masking_ratio:
        raise ValueError(
            f'{name} drops {neuron.masking_ratio:.0%} of its spikes at random, and an exported '
            'file repeats its answers: call mmspike.masking.set_masking(model, dict(all=0)) '
            'first'
        )
    return dict(
        name=name,
        timesteps=neuron.timesteps,
        spike_value=neuron.spike_value,
        max_spikes=neuron.max_spikes,
        **numbers_of(neuron),
    )


@singledispatch
def numbers_of(neuron: BaseNeuron) -> dict[str, Any]:
    """``kind`` and the numbers of one class of neurons; other classes may be registered.

    Raises:
        ValueError: The class has no exported form.
    """
    raise ValueError(
        f'{type(neuron).__name__} has no exported form; register one: '
        'mmspike.deploy.settings.numbers_of'
    )


def _integer(neuron: IntegerNeuron, kind: str) -> dict[str, Any]:
    return dict(kind=kind, norm=neuron.norm, half_up=neuron.rounding == 'half_up')


@numbers_of.register
def _(neuron: SFA) -> dict[str, Any]:
    return _integer(neuron, 'integer')


@numbers_of.register
def _(neuron: ILIF) -> dict[str, Any]:
    return dict(_integer(neuron, 'integer_lif'), decay=neuron.decay)


@numbers_of.register
def _(neuron: QCFS) -> dict[str, Any]:
    return dict(kind='clip_floor', threshold=neuron.positive_threshold.item())


@numbers_of.register
def _(neuron: SpikingQCFS) -> dict[str, Any]:
    return dict(kind='spiking_clip_floor', threshold=neuron.positive_threshold.item())


def _binary(neuron: BinaryNeuron, kind: str) -> dict[str, Any]:
    return dict(kind=kind, threshold=neuron.threshold, v_reset=neuron.v_reset)


@numbers_of.register
def _(neuron: IF) -> dict[str, Any]:
    return _binary(neuron, 'integrate_and_fire')


@numbers_of.register
def _(neuron: LIF) -> dict[str, Any]:
    leak = dict(tau=neuron.tau, decay_input=neuron.decay_input)
    return dict(_binary(neuron, 'leaky'), **leak)


@numbers_of.register
def _(neuron: PLIF) -> dict[str, Any]:
    leak = dict(decay=neuron.w.detach().sigmoid().item(), decay_input=neuron.decay_input)
    return dict(_binary(neuron, 'parametric_leaky'), **leak)
