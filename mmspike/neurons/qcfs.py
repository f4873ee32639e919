"""The quantised clip-floor-shift activation (QCFS) of Bu et al., ICLR 2022 (arXiv 2303.04347).

A network is trained with it before its activations become integrate-and-fire neurons: over enough
steps their firing rate is the activation's value. Masked Spiking Transformer trains with 16 levels
and a threshold that starts at 2 (bic-L/Masked-Spiking-Transformer).
"""

from typing import Any

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.base import check_number
from mmspike.neurons.learned_threshold import LearnedThreshold
from mmspike.registry import MODELS


@MODELS.register_module()
class QCFS(LearnedThreshold):
    """``threshold * clamp(floor(x / threshold * levels + 0.5) / levels, 0, 1)``, any shape.

    It has no memory: every time step is on its own, and ``stateful`` changes nothing.

    Args:
        levels: Number of steps between 0 and the threshold.
        **kwargs: See :class:`~mmspike.neurons.learned_threshold.LearnedThreshold`, whose
            ``init_threshold`` is 2.

    Raises:
        TypeError: ``levels`` is not an integer.
        ValueError: ``levels`` is not positive.
    """

    has_memory = False

    def __init__(self, *, levels: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(levels, bool) or not isinstance(levels, int):
            raise TypeError(f'levels must be an int, got {levels!r} ({type(levels).__name__})')
        check_number('levels', levels, at_least=1)
        self.levels = levels

    @property
    def spike_value(self) -> float:
        return self.positive_threshold.item() / self.levels

    @property
    def max_spikes(self) -> int:
        return self.levels

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, None]:
        out = functional.quantised_clip_floor_shift(
            x,
            threshold=self.positive_threshold,
            levels=self.levels,
            overwrite=self.overwrites_input,
        )
        return out, None

    def describe(self) -> dict[str, str | float | None]:
        # The threshold is a weight, not a setting: it travels in the state dict itself.
        return dict(type=type(self).__name__, levels=self.levels)
