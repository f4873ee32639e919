"""The neurons as pure functions over a whole sequence, with the fastest available backend.

Every function takes the input current ``x`` of shape ``(T, ...)`` and, where the neuron has one,
the membrane potential ``v`` of shape ``x.shape[1:]`` that the previous chunk left behind (None:
at rest; any other shape is a ValueError). It returns the output ``(T, ...)`` in the dtype of ``x``,
and the membrane after the last step, or None with ``keep_state=False``. half and bfloat16 inputs
are computed in float32, and so is their membrane. With ``overwrite``, kernels in plain inference on
a CPU write the output into the memory of ``x``, whose values are lost.

What they compute is written down in :mod:`mmspike.neurons.reference`, which also runs wherever the
fused kernels of :mod:`mmspike.neurons.kernels` cannot. ``**firing`` stands for ``threshold``,
``v_reset``, ``detach_reset`` and ``surrogate``.
"""

from typing import Any

import torch
from torch import Tensor

from mmspike.neurons import reference
from mmspike.neurons.kernels import ops
from mmspike.neurons.kernels.backend import use_kernels
from mmspike.neurons.kernels.settings import (
    DIVIDE,
    MULTIPLY,
    NO_LEAK,
    SCALE,
    BinarySettings,
    IntegerSettings,
)
from mmspike.neurons.reference import GRAD_WINDOWS, INITIAL_CHARGE, ROUNDINGS, at_rest
from mmspike.neurons.surrogate import Surrogate

__all__ = [
    'GRAD_WINDOWS',
    'INITIAL_CHARGE',
    'ROUNDINGS',
    'at_rest',
    'integer_fire',
    'integer_leaky_integrate_and_fire',
    'integrate_and_fire',
    'leaky_integrate_and_fire',
    'parametric_leaky_integrate_and_fire',
    'quantised_clip_floor_shift',
    'spiking_clip_floor_shift',
]


def _binary(
    x: Tensor,
    v: Tensor | None,
    learned: Tensor | None,
    *,
    surrogate: Surrogate,
    keep_state: bool,
    overwrite: bool,
    **settings: Any,
) -> tuple[Tensor, Tensor | None]:
    made = BinarySettings(surrogate=surrogate.name, alpha=surrogate.alpha, **settings)
    v = None if v is None else v.float()
    out, v_end = ops.run(ops.binary, x, v, learned, *made, keep_state, overwrite=overwrite)
    return out, v_end if keep_state else None


def _wants_grad(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def integrate_and_fire(
    x: Tensor,
    v: Tensor | None = None,
    *,
    keep_state: bool = True,
    overwrite: bool = False,
    **firing: Any,
) -> tuple[Tensor, Tensor | None]:
    """Integrate and fire, see :func:`mmspike.neurons.reference.integrate_and_fire`."""
    if use_kernels(x):
        return _binary(
            x, v, None, leak=NO_LEAK, keep_state=keep_state, overwrite=overwrite, **firing
        )
    out, v = reference.integrate_and_fire(x, v, **firing)
    return out, v if keep_state else None


def leaky_integrate_and_fire(
    x: Tensor,
    v: Tensor | None = None,
    *,
    tau: float,
    decay_input: bool,
    keep_state: bool = True,
    overwrite: bool = False,
    **firing: Any,
) -> tuple[Tensor, Tensor | None]:
    """LIF, see :func:`mmspike.neurons.reference.leaky_integrate_and_fire`."""
    if use_kernels(x):
        return _binary(
            x, v, None, leak=DIVIDE, tau=tau, decay_input=decay_input, keep_state=keep_state,
            overwrite=overwrite, **firing,
        )  # fmt: skip
    out, v = reference.leaky_integrate_and_fire(x, v, tau=tau, decay_input=decay_input, **firing)
    return out, v if keep_state else None


def parametric_leaky_integrate_and_fire(
    x: Tensor,
    v: Tensor | None = None,
    *,
    w: Tensor,
    decay_input: bool,
    keep_state: bool = True,
    overwrite: bool = False,
    **firing: Any,
) -> tuple[Tensor, Tensor | None]:
    """PLIF, see :func:`mmspike.neurons.reference.parametric_leaky_integrate_and_fire`."""
    if use_kernels(x):
        decay = w.float().sigmoid()
        return _binary(
            x, v, decay, leak=MULTIPLY, decay_input=decay_input, keep_state=keep_state,
            overwrite=overwrite, **firing,
        )  # fmt: skip
    out, v = reference.parametric_leaky_integrate_and_fire(
        x, v, w=w, decay_input=decay_input, **firing
    )
    return out, v if keep_state else None


def integer_fire(
    x: Tensor, *, D: int, norm: float, rounding: str, grad_window: str, overwrite: bool = False
) -> Tensor:
    """Integer neuron without memory, see :func:`mmspike.neurons.reference.integer_fire`."""
    if x.dim() and use_kernels(x):
        # The fields of NO_MEMORY. Torch 2.6 cannot compile a slice of the named tuple.
        return ops.run(
            ops.sfa, x, D, norm, rounding, grad_window, _wants_grad(x), overwrite=overwrite
        )[0]
    return reference.integer_fire(x, D=D, norm=norm, rounding=rounding, grad_window=grad_window)


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
    keep_state: bool = True,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """I-LIF, see :func:`mmspike.neurons.reference.integer_leaky_integrate_and_fire`."""
    settings: dict[str, Any] = dict(
        D=D, norm=norm, decay=decay, detach_reset=detach_reset, rounding=rounding,
        grad_window=grad_window,
    )  # fmt: skip
    if use_kernels(x):
        made = IntegerSettings(**settings)
        v = None if v is None else v.float()
        out, v_end, _ = ops.run(
            ops.ilif, x, v, *made, keep_state, _wants_grad(x, v), overwrite=overwrite
        )
        return out, v_end if keep_state else None
    out, v = reference.integer_leaky_integrate_and_fire(x, v, **settings)
    return out, v if keep_state else None


def quantised_clip_floor_shift(
    x: Tensor, *, threshold: Tensor, levels: int, overwrite: bool = False
) -> Tensor:
    """QCFS, see :func:`mmspike.neurons.reference.quantised_clip_floor_shift`."""
    if x.dim() and use_kernels(x):
        return ops.run(ops.qcfs, x, threshold.float(), levels, overwrite=overwrite)
    return reference.quantised_clip_floor_shift(x, threshold=threshold, levels=levels)


def spiking_clip_floor_shift(
    x: Tensor,
    v: Tensor | None = None,
    *,
    threshold: Tensor,
    surrogate: Surrogate,
    keep_state: bool = True,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Spiking QCFS, see :func:`mmspike.neurons.reference.spiking_clip_floor_shift`."""
    if use_kernels(x):
        # By way of the dtype of x, whose rounding is part of the division.
        learned = threshold.to(x.dtype).float()
        return _binary(
            x, v, learned, leak=SCALE, threshold=1.0, v_reset=None, detach_reset=True,
            surrogate=surrogate, keep_state=keep_state, overwrite=overwrite,
        )  # fmt: skip
    out, v = reference.spiking_clip_floor_shift(x, v, threshold=threshold, surrogate=surrogate)
    return out, v if keep_state else None
