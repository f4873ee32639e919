"""NIR's neurons, step by step, for numbers that mmspike's own neurons do not have.

NIR's equation ``tau * dv/dt = (v_leak - v) + r * x`` becomes, in steps of ``dt``::

    v[t] = v[t-1] + leak * (v_leak - v[t-1]) + gain * x[t]     leak = dt / tau, gain = r * dt / tau

and ``dv/dt = r * x`` the same with ``leak = 0, gain = r * dt``. All numbers may differ from neuron
to neuron.
"""

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor

from mmspike.deploy.nir.numbers import to_tensor
from mmspike.neurons.base import BaseNeuron
from mmspike.neurons.surrogate import Surrogate, get_surrogate, spike
from mmspike.temporal import TemporalModule, fold_time, unfold_time


class _Membrane:
    """The charge of both classes below; its numbers are buffers, of the map's shape or ``()``."""

    leak: Tensor
    gain: Tensor
    v_leak: Tensor
    register_buffer: Callable[[str, Tensor], None]

    def _register(self, **numbers: Any) -> None:
        for name, value in numbers.items():
            self.register_buffer(name, to_tensor(value))

    def _at_rest(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) + self.v_leak

    def _charge(self, v: Tensor, x: Tensor) -> Tensor:
        return v + self.leak * (self.v_leak - v) + self.gain * x


class NIRNeuron(_Membrane, BaseNeuron):
    """A spiking neuron of NIR, ``(T*B, ...)`` to spikes 0/1 ``(T*B, ...)``.

    It starts at ``v_leak``, fires where ``v >= threshold``, and is then at ``v_reset``.

    Args:
        leak, gain, v_leak: See the module; arrays of the shape of one sample, or numbers.
        threshold: Firing threshold.
        v_reset: Membrane potential after a spike.
        surrogate: Surrogate gradient, should the network be trained further.
        **kwargs: See :class:`~mmspike.neurons.base.BaseNeuron`.
    """

    spike_value = 1.0
    threshold: Tensor
    v_reset: Tensor

    def __init__(
        self,
        *,
        leak: Any,
        gain: Any,
        v_leak: Any,
        threshold: Any,
        v_reset: Any,
        surrogate: str | dict | Surrogate = 'sigmoid',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._register(leak=leak, gain=gain, v_leak=v_leak, threshold=threshold, v_reset=v_reset)
        self.surrogate = get_surrogate(surrogate)

    def _carried(self, sequence: Tensor) -> Tensor:
        if isinstance(self.v, Tensor):
            return super()._carried(sequence)
        return self._at_rest(sequence[0])

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        v = self._at_rest(x[0]) if v is None else v
        spikes = []
        for current in x:
            v = self._charge(v, current)
            spikes.append(spike(v - self.threshold, self.surrogate))
            v = torch.where(spikes[-1] > 0, self.v_reset, v)
        return torch.stack(spikes), v

    def describe(self) -> dict[str, str | float | None]:
        # All numbers are buffers: they travel in the state dict itself.
        return dict(type=type(self).__name__)


class Integrator(_Membrane, TemporalModule, MemoryModule):
    """A membrane without spikes, ``(T*B, ...)`` to membrane potentials ``(T*B, ...)``.

    Args:
        leak, gain, v_leak: See the module. It starts at ``v_leak``.

    Attributes:
        stateful: Keep the membrane potential from call to call, until :meth:`reset`.
    """

    def __init__(self, *, leak: Any, gain: Any, v_leak: Any) -> None:
        super().__init__()
        self._register(leak=leak, gain=gain, v_leak=v_leak)
        self.stateful = False
        self.register_memory('v', None)

    v: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Run T steps.

        Raises:
            ValueError: The first size is no multiple of T.
        """
        sequence = unfold_time(x, self.timesteps)
        v = self._at_rest(sequence[0]) if self.v is None else self.v
        potentials = []
        for current in sequence:
            v = self._charge(v, current)
            potentials.append(v)
        if self.stateful:
            self.v = v
        return fold_time(torch.stack(potentials))
