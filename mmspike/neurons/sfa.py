"""The stateless integer neuron of SDT v3 (spike firing approximation, arXiv 2411.16061)."""

from typing import Any

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.integer import IntegerNeuron, check_largest_integer
from mmspike.registry import MODELS


@MODELS.register_module()
class SFA(IntegerNeuron):
    """``round(clamp(x, 0, D)) / norm``, ``(T*B, ...)`` to ``(T*B, ...)``.

    It has no memory: every time step is on its own, and ``stateful`` changes nothing.

    Args:
        eval_D: Largest integer in evaluation, where it differs. SDT v3's published detectors were
            evaluated with a neck that fires 0 to 4 in training and 0 or 1 in evaluation
            (``D=4, norm=1, eval_D=1``), which was not meant; None is D.
        **kwargs: See :class:`~mmspike.neurons.integer.IntegerNeuron`.

    Raises:
        TypeError, ValueError: ``eval_D`` is no integer of at least 1.
    """

    has_memory = False

    def __init__(self, *, eval_D: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if eval_D is not None:
            check_largest_integer(eval_D, 'eval_D')
        self.eval_D = eval_D

    @property
    def max_spikes(self) -> int:
        return self.D if self.eval_D is None or self.training else self.eval_D

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, None]:
        # torch 2.6 does not compile dict(options, D=...).
        return functional.integer_fire(x, **{**self.firing_options, 'D': self.max_spikes}), None

    def describe(self) -> dict[str, str | float | None]:
        other = {} if self.eval_D is None else dict(eval_D=self.eval_D)
        return dict(super().describe(), **other)
