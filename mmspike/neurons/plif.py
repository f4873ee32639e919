"""LIF with a learned time constant: ``1 / tau = sigmoid(w)`` (Fang et al., ICCV 2021)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.neurons import functional
from mmspike.neurons.base import check_number
from mmspike.neurons.binary import BinaryNeuron
from mmspike.registry import MODELS


@MODELS.register_module()
class PLIF(BinaryNeuron):
    """Parametric LIF neuron, ``(T*B, ...)`` to spikes 0/1 ``(T*B, ...)``.

    The charge equations are those of :class:`~mmspike.neurons.lif.LIF`. One parameter of
    shape ``(1,)``, ``w`` as in spikingjelly's ``ParametricLIFNode``, is shared by the layer.

    Args:
        init_tau: Initial membrane time constant in time steps, above 1.
        decay_input: Divide the input by ``tau`` as well.
        **kwargs: See :class:`~mmspike.neurons.binary.BinaryNeuron`.

    Raises:
        TypeError, ValueError: ``init_tau`` is no finite number above 1.
    """

    def __init__(self, *, init_tau: float = 2.0, decay_input: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        init_tau = check_number('init_tau', init_tau, above=1)
        self.decay_input = decay_input
        self.w = nn.Parameter(torch.tensor([-math.log(init_tau - 1)]))

    @property
    def tau(self) -> float:
        """The membrane time constant in time steps, as learned so far."""
        decay = self.w.detach().sigmoid().item()
        return 1 / decay if decay else math.inf

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return functional.parametric_leaky_integrate_and_fire(
            x,
            v,
            w=self.w,
            decay_input=self.decay_input,
            keep_state=self.stateful,
            **self.firing_options,
        )

    def describe(self) -> dict[str, str | float | None]:
        # tau is a weight, not a setting: it travels in the state dict itself.
        return dict(super().describe(), decay_input=self.decay_input)
