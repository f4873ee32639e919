"""The neurons as pure functions over a whole sequence, in plain torch: the reference.

Every function takes the input current ``x`` of shape ``(T, ...)`` and, where the neuron has one,
the membrane potential ``v`` of shape ``x.shape[1:]`` that the previous chunk left behind (None:
at rest). It returns the output ``(T, ...)`` in the dtype of ``x``, and the membrane after the last
step. half and bfloat16 inputs are computed in float32, and so is their membrane.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmspike.neurons.surrogate import Surrogate, spike

ROUNDINGS = ('half_even', 'half_up')
GRAD_WINDOWS = ('inclusive', 'strict')
# The membrane of a spiking clip-floor-shift neuron, in thresholds, before the first step. Half a
# threshold turns the floor of a plain integrator into rounding.
INITIAL_CHARGE = 0.5


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _HardReset(torch.autograd.Function):
    """The target where a neuron fired (gate 1), else the unchanged membrane (gate 0).

    The same as ``(1 - gate) * v + gate * target``, but with infinite membranes too. The target is a
    tensor: torch.compile mixes up numbers that such functions keep.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, gate: Tensor, target: Tensor) -> Tensor:
        return torch.where(gate > 0, target, v)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        v, gate, target = ctx.saved_tensors
        return grad * (1 - gate), grad * (target - v), None


def _binary_neuron(
    x: Tensor,
    v: Tensor,
    charge: Callable[[Tensor, Tensor], Tensor],
    *,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor]:
    """Charge, fire, reset, once per step. ``charge(v, x[t])`` is the new membrane potential."""
    target = None if v_reset is None else v.new_full((), v_reset)
    spikes = []
    for current in _at_least_float32(x):
        v = charge(v, current)
        fired = spike(v - threshold, surrogate)
        spikes.append(fired)
        gate = fired.detach() if detach_reset else fired
        v = v - gate * threshold if target is None else _HardReset.apply(v, gate, target)
    return torch.stack(spikes).to(x.dtype), v


def at_rest(x: Tensor, rest: float) -> Tensor:
    """The membrane ``(...)`` that belongs to an input ``(T, ...)``, filled with ``rest``."""
    return torch.full_like(_at_least_float32(x[0]), rest)


def membrane(x: Tensor, v: Tensor | None, rest: float) -> Tensor:
    """The membrane that an input ``(T, ...)`` meets: ``v``, or one at rest.

    Raises:
        ValueError: ``v`` is not of shape ``(...)``.
    """
    if v is None:
        return at_rest(x, rest)
    if v.shape != x.shape[1:]:
        raise ValueError(
            f'the membrane has shape {tuple(v.shape)}; for an input of shape {tuple(x.shape)}, '
            f'(T, ...), it must have the shape of one step, {tuple(x.shape[1:])}'
        )
    return v


def integrate_and_fire(
    x: Tensor,
    v: Tensor | None = None,
    *,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor]:
    """Integrate and fire: ``v += x``; a spike where ``v >= threshold``; reset.

    Args:
        x: Input current ``(T, ...)``.
        v: Membrane potential ``(...)``; None starts at ``v_reset``, or 0 with a soft reset.
        threshold: Firing threshold.
        v_reset: Potential after a spike (hard reset); None subtracts the threshold (soft reset).
        detach_reset: Keep the reset out of the backward pass.
        surrogate: Gradient of the spike.

    Returns:
        Spikes 0/1 ``(T, ...)`` and the membrane potential after the last step.

    Raises:
        ValueError: ``v`` has another shape.
    """
    v = membrane(x, v, v_reset or 0.0)
    return _binary_neuron(
        x,
        v,
        lambda v, current: v + current,
        threshold=threshold,
        v_reset=v_reset,
        detach_reset=detach_reset,
        surrogate=surrogate,
    )


def leaky_integrate_and_fire(
    x: Tensor,
    v: Tensor | None = None,
    *,
    tau: float,
    decay_input: bool,
    v_reset: float | None,
    **firing: Any,
) -> tuple[Tensor, Tensor]:
    """Leaky integrate and fire, with rest potential ``r`` = ``v_reset`` (0 with a soft reset).

    ``v += (x - (v - r)) / tau`` with ``decay_input``, else ``v += x - (v - r) / tau``; then a spike
    where ``v >= threshold``, and the reset.

    Args:
        x: Input current ``(T, ...)``.
        v: Membrane potential ``(...)``; None starts at rest.
        tau: Membrane time constant in time steps.
        decay_input: Divide the input by ``tau`` as well.
        v_reset: See :func:`integrate_and_fire`.
        **firing: ``threshold``, ``detach_reset`` and ``surrogate``, see
            :func:`integrate_and_fire`.

    Returns:
        Spikes 0/1 ``(T, ...)`` and the membrane potential after the last step.

    Raises:
        ValueError: ``v`` has another shape.
    """
    # A division, as in the papers' code: times 1 / tau rounds otherwise and can miss a threshold.
    return _leaky_neuron(x, v, lambda d: d / tau, decay_input, v_reset, **firing)


def parametric_leaky_integrate_and_fire(
    x: Tensor,
    v: Tensor | None = None,
    *,
    w: Tensor,
    decay_input: bool,
    v_reset: float | None,
    **firing: Any,
) -> tuple[Tensor, Tensor]:
    """:func:`leaky_integrate_and_fire` with ``1 / tau = sigmoid(w)``, w one learned number."""
    decay = w.sigmoid().reshape(())
    return _leaky_neuron(x, v, lambda d: d * decay, decay_input, v_reset, **firing)


def _leaky_neuron(
    x: Tensor,
    v: Tensor | None,
    leak: Callable[[Tensor], Tensor],
    decay_input: bool,
    v_reset: float | None,
    **firing: Any,
) -> tuple[Tensor, Tensor]:
    rest = v_reset or 0.0
    v = membrane(x, v, rest)

    def charge(v: Tensor, current: Tensor) -> Tensor:
        if decay_input:
            return v + leak(current - (v - rest))
        return v - leak(v - rest) + current

    return _binary_neuron(x, v, charge, v_reset=v_reset, **firing)


class _IntegerFire(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, D: int, rounding: str, grad_window: str) -> Tensor:
        x = x.clamp(0, D)
        return torch.round(x) if rounding == 'half_even' else torch.floor(x + 0.5)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        x, D, _, grad_window = inputs
        inside = (x >= 0) & (x <= D) if grad_window == 'inclusive' else (x > 0) & (x < D)
        ctx.save_for_backward(inside)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None


def integer_fire(x: Tensor, *, D: int, norm: float, rounding: str, grad_window: str) -> Tensor:
    """``round(clamp(x, 0, D)) / norm``: the stateless integer neuron of SDT v3.

    Args:
        x: Input of any shape.
        D: Largest integer, the number of binary spikes it stands for.
        norm: Divisor of the output.
        rounding: ``'half_even'`` (0.5 -> 0, 1.5 -> 2) or ``'half_up'`` (0.5 -> 1, 1.5 -> 2).
        grad_window: The gradient ``1 / norm`` passes where ``0 <= x <= D`` (``'inclusive'``) or
            where ``0 < x < D`` (``'strict'``).

    Returns:
        Multiples of ``1 / norm``, shape and dtype of ``x``.
    """
    return (_IntegerFire.apply(_at_least_float32(x), D, rounding, grad_window) / norm).to(x.dtype)


def integer_leaky_integrate_and_fire(
    x: Tensor,
    v: Tensor | None = None,
    *,
    D: int,
    norm: float,
    decay: float,
    detach_reset: bool,
    rounding: str,
    grad_window: str,
) -> tuple[Tensor, Tensor]:
    """I-LIF: ``v = decay * v + x``; ``s = round(clamp(v, 0, D))``; ``v -= s``; output ``s / norm``.

    Args:
        x: Input current ``(T, ...)``.
        v: Membrane potential ``(...)`` after the last reset; None starts at 0.
        decay: What is left of the membrane after one step.
        D, norm, rounding, grad_window: See :func:`integer_fire`.
        detach_reset: Keep the subtracted integer out of the backward pass.

    Returns:
        Multiples of ``1 / norm`` ``(T, ...)`` and the membrane potential after the last step.
    """
    v = membrane(x, v, 0.0)
    fired = []
    for current in _at_least_float32(x):
        v = decay * v + current
        count = integer_fire(v, D=D, norm=1.0, rounding=rounding, grad_window=grad_window)
        fired.append(count)
        v = v - (count.detach() if detach_reset else count)
    return (torch.stack(fired) / norm).to(x.dtype), v


class _Floor(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad


def quantised_clip_floor_shift(x: Tensor, *, threshold: Tensor, levels: int) -> Tensor:
    """QCFS: ``threshold * clamp(floor(x / threshold * levels + 0.5) / levels, 0, 1)``.

    The gradient takes ``floor`` for the identity; the clamp lets it pass to x at its ends as well.

    Args:
        x: Input of any shape.
        threshold: Learned threshold, one number, ``(1,)`` or ``()``.
        levels: Number of steps between 0 and the threshold.

    Returns:
        Multiples of ``threshold / levels`` from 0 to ``threshold``, shape and dtype of ``x``.
    """
    # Without dimensions a number does not change the dtype of what it is multiplied with.
    threshold = threshold.reshape(())
    level = _Floor.apply(_at_least_float32(x) / threshold * levels + 0.5) / levels
    # Written out: whether clamp passes a gradient at its ends depends on the version of torch.
    inside = (level >= 0) & (level <= 1)
    level = torch.where(inside, level, level.detach().clamp(0, 1))
    return (level * threshold).to(x.dtype)


def spiking_clip_floor_shift(
    x: Tensor, v: Tensor | None = None, *, threshold: Tensor, surrogate: Surrogate
) -> tuple[Tensor, Tensor]:
    """An integrate-and-fire neuron whose rate is :func:`quantised_clip_floor_shift`.

    ``v += x / threshold``; a spike worth ``threshold`` where ``v >= 1``, and then ``v -= 1``. The
    membrane counts in thresholds. The quotient is rounded to the dtype of ``x``; the reset stays
    out of the backward pass.

    Args:
        x: Input current ``(T, ...)``.
        v: Membrane potential ``(...)``; None starts at :data:`INITIAL_CHARGE`.
        threshold: Learned threshold, one number, ``(1,)`` or ``()``.
        surrogate: Gradient of the spike.

    Returns:
        0 or the threshold ``(T, ...)``, and the membrane potential after the last step.
    """
    threshold = threshold.reshape(()).to(x.dtype)
    spikes, v = integrate_and_fire(
        x / threshold,
        membrane(x, v, INITIAL_CHARGE),
        threshold=1.0,
        v_reset=None,
        detach_reset=True,
        surrogate=surrogate,
    )
    return spikes * threshold, v
