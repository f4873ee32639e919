"""Checks of tensors that come from outside."""

import torch
from torch import Tensor


def check_finite(x: Tensor, name: str) -> None:
    """Raise if ``x`` holds NaN or infinity.

    A NaN would not crash a spiking network: ``NaN >= threshold`` is false, so the neuron falls
    silent for good. The check is skipped where reading a result back is not possible, under
    ``torch.compile`` and CUDA graph capture.

    Raises:
        ValueError: With the number of such values.
    """
    if torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return
    # The sum is finite unless a value is not, or it overflows: look closer only then.
    if not torch.isfinite(x.detach().sum(dtype=torch.float32)):
        bad = int((~torch.isfinite(x)).sum())
        if bad:
            raise ValueError(
                f'the {name} of shape {tuple(x.shape)} holds {bad} NaN or infinite values; check '
                'the data pipeline and the normalisation (a std of 0, for instance)'
            )
