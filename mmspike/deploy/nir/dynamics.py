"""Neurons and nodes with memory: which is which, in both directions.

With ``tau`` in time steps and the rest potential ``rest`` (the hard reset's target):

==================  ==========================================================================
mmspike             NIR
==================  ==========================================================================
IF                  ``IF(r=1/dt, v_threshold=threshold, v_reset=rest)``
LIF, decay_input    ``LIF(tau=tau*dt, r=1, v_leak=rest, v_threshold=threshold, v_reset=rest)``
LIF, else           the same with ``r=tau``
PLIF                that of a LIF with ``tau = 1 / sigmoid(w)``
NIRNeuron           ``IF`` or ``LIF`` with numbers of its own
Integrator          ``I`` or ``LI``
==================  ==========================================================================

Soft resets are in :mod:`~mmspike.deploy.nir.soft_reset`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmspike.deploy.nir.layers import Shape
from mmspike.deploy.nir.library import nir
from mmspike.deploy.nir.neurons import Integrator, NIRNeuron
from mmspike.deploy.nir.numbers import full, in_steps, is_close, to_array, uniform
from mmspike.neurons import IF, LIF, PLIF


def write_if(neuron: IF, shape: Shape, dt: float) -> nir.NIRNode:
    """An integrate-and-fire neuron with a hard reset."""
    rest = full(shape, neuron.v_reset or 0.0)
    return nir.IF(r=full(shape, 1 / dt), v_threshold=full(shape, neuron.threshold), v_reset=rest)


def write_lif(neuron: LIF | PLIF, shape: Shape, dt: float) -> nir.NIRNode:
    """A leaky integrate-and-fire neuron with a hard reset."""
    return nir.LIF(
        tau=full(shape, neuron.tau * dt),
        r=full(shape, resistance(neuron)),
        v_leak=full(shape, neuron.v_reset or 0.0),
        v_threshold=full(shape, neuron.threshold),
        v_reset=full(shape, neuron.v_reset or 0.0),
    )


def resistance(neuron: LIF | PLIF) -> float:
    """``r`` of NIR: without ``decay_input`` it undoes the division by tau."""
    return 1.0 if neuron.decay_input else neuron.tau


def read_if(node: nir.IF, dt: float) -> nn.Module:
    """:class:`~mmspike.neurons.IF` if its numbers allow it."""
    gain = np.asarray(node.r) * dt
    same = uniform(gain, node.v_threshold, node.v_reset)
    if same and is_close(same[0], 1) and _can_fire(*same[1:]):
        return IF(threshold=same[1], v_reset=same[2])
    return NIRNeuron(
        leak=0.0, gain=gain, v_leak=node.v_reset, threshold=node.v_threshold, v_reset=node.v_reset
    )


def read_lif(node: nir.LIF, dt: float) -> nn.Module:
    """:class:`~mmspike.neurons.LIF` if its numbers allow it."""
    leak = leak_of(node.tau, dt)
    same = uniform(node.tau, node.r, node.v_threshold, node.v_reset, node.v_leak)
    if same:
        tau, (r, threshold, v_reset, v_leak) = in_steps(same[0], dt), same[1:]
        if v_leak == v_reset and _can_fire(threshold, v_reset) and tau >= 1:
            for decay_input, expected in ((True, 1.0), (False, tau)):
                if is_close(r, expected):
                    return LIF(
                        tau=tau, decay_input=decay_input, threshold=threshold, v_reset=v_reset
                    )
    return NIRNeuron(
        leak=leak,
        gain=leak * node.r,
        v_leak=node.v_leak,
        threshold=node.v_threshold,
        v_reset=node.v_reset,
    )


def read_integrator(node: nir.NIRNode, dt: float) -> Integrator:
    """A membrane that does not fire: ``nir.I`` or ``nir.LI``."""
    if isinstance(node, nir.I):
        return Integrator(leak=0.0, gain=np.asarray(node.r) * dt, v_leak=0.0)
    leak = leak_of(node.tau, dt)
    return Integrator(leak=leak, gain=leak * node.r, v_leak=node.v_leak)


def read_current_based(node: nir.NIRNode, dt: float) -> nn.Module:
    """``nir.CubaLIF`` or ``nir.CubaLI``: a synapse, which is a leaky integrator, then a membrane.

    The membrane takes the current of the same step.
    """
    synapse_leak, leak = leak_of(node.tau_syn, dt), leak_of(node.tau_mem, dt)
    synapse = Integrator(leak=synapse_leak, gain=synapse_leak * node.w_in, v_leak=0.0)
    numbers = dict(leak=leak, gain=leak * node.r, v_leak=node.v_leak)
    if isinstance(node, nir.CubaLI):
        return nn.Sequential(synapse, Integrator(**numbers))
    neuron = NIRNeuron(**numbers, threshold=node.v_threshold, v_reset=node.v_reset)
    return nn.Sequential(synapse, neuron)


def leak_of(tau: np.ndarray, dt: float) -> np.ndarray:
    """What a membrane loses in one step.

    Raises:
        ValueError: A time constant is shorter than a step, or NaN.
    """
    tau = np.asarray(tau, dtype=np.float64)
    if not (tau >= dt * (1 - 1e-6)).all():
        raise ValueError(
            f'its time constant {tau.min():g} s is shorter than one step, dt={dt:g} s: choose a '
            'smaller dt'
        )
    return dt / tau


def _can_fire(threshold: float, v_reset: float) -> bool:
    return threshold > 0 and v_reset < threshold


def write_general(neuron: NIRNeuron | Integrator, shape: Shape, dt: float) -> nir.NIRNode:
    """A neuron that came from NIR, with its own numbers."""

    def array(x: Tensor) -> np.ndarray:
        return np.broadcast_to(to_array(x).astype(np.float64), shape).copy()

    leak, gain = array(neuron.leak), array(neuron.gain)
    leaky = dict(tau=dt / leak, r=gain / leak, v_leak=array(neuron.v_leak)) if leak.any() else {}
    if isinstance(neuron, Integrator):
        return nir.LI(**leaky) if leaky else nir.I(r=gain / dt)
    fires = dict(v_threshold=array(neuron.threshold), v_reset=array(neuron.v_reset))
    return nir.LIF(**leaky, **fires) if leaky else nir.IF(r=gain / dt, **fires)


READERS: dict[type, Callable[[Any, float], nn.Module]] = {
    nir.CubaLI: read_current_based,
    nir.CubaLIF: read_current_based,
    nir.I: read_integrator,
    nir.IF: read_if,
    nir.LI: read_integrator,
    nir.LIF: read_lif,
}
