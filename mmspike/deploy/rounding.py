"""Rounding the weights of a layer to int8."""

import numpy as np
import torch
from torch import Tensor

from mmspike.deploy.calibration import Statistics

# ``nearest``: each weight by itself. ``bias``: a bias takes away the mean error, known from
# data (Nagel et al., ICCV 2019, arXiv 1906.04721, section 4.2). ``feedback``: the error of a weight
# is given to those that are rounded later, as far as their inputs go together (GPTQ, Frantar et
# al., arXiv 2210.17323), and a bias takes away what is left of the mean.
ROUNDINGS = ('nearest', 'bias', 'feedback')
# Added to the moments, as a share of their mean: inputs may depend on each other, or never fire.
DAMPING = 0.01


def scales(weight: np.ndarray, out_axis: int) -> np.ndarray:
    """The scale of every output channel, which maps its largest weight to 127."""
    others = tuple(i for i in range(weight.ndim) if i != out_axis)
    largest = np.abs(weight).max(axis=others)
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def nearest(weight: np.ndarray, scale: np.ndarray, out_axis: int) -> np.ndarray:
    """Each weight rounded by itself: int8 from -127 to 127."""
    shape = [-1 if i == out_axis else 1 for i in range(weight.ndim)]
    return np.rint(weight / scale.reshape(shape)).clip(-127, 127).astype(np.int8)


def with_feedback(weight: np.ndarray, scale: np.ndarray, statistics: Statistics) -> np.ndarray:
    """Weights rounded one after the other, where later ones make up for earlier ones.

    Args:
        weight: ``(O, ...)`` of a convolution or linear layer.
        scale: ``(O,)``.
        statistics: Of its inputs, with moments.

    Returns:
        int8, in the shape of ``weight``.
    """
    assert statistics.moments is not None
    groups, n, _ = statistics.moments.shape
    left = torch.from_numpy(weight.copy()).double().reshape(groups, -1, n)
    steps = torch.from_numpy(scale).double().reshape(groups, -1)
    rounded = torch.empty_like(left)
    spread = _spread(statistics.moments.double())
    for i in range(n):
        rounded[..., i] = (left[..., i] / steps).round().clamp(-127, 127)
        error = (left[..., i] - rounded[..., i] * steps) / spread[:, i, i, None]
        left[..., i + 1 :] -= error[..., None] * spread[:, i, None, i + 1 :]
    return rounded.to(torch.int8).reshape(weight.shape).numpy()


def _spread(moments: Tensor) -> Tensor:
    """How the error of each input is made up for by the later ones: ``(groups, n, n)``, upper."""
    mean = moments.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    identity = torch.eye(moments.shape[-1], dtype=moments.dtype)
    damped = moments + DAMPING * mean[:, None, None] * identity
    return torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)


def mean_errors(weight: np.ndarray, rounded: np.ndarray, statistics: Statistics) -> np.ndarray:
    """The mean of what every output channel loses by rounded weights: ``(O,)``."""
    groups, n = statistics.sums.shape
    lost = (weight - rounded).reshape(groups, -1, n)
    return np.einsum('gon,gn->go', lost, statistics.means.numpy()).ravel().astype(np.float32)
