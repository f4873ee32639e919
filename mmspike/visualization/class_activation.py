"""Class activation maps (CAM) of models with time steps.

Tools such as ``pytorch-grad-cam`` weight the feature maps of a layer by their gradients. They
expect one map per image, while a layer of a spiking network gives one per image and time step. What
they call a *reshape transform* brings maps, and gradients, into the form they expect.
"""

from collections.abc import Callable

from torch import Tensor, nn

from mmspike.temporal import get_timesteps, unfold_time


def cam_reshape_transform(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """A reshape transform that averages the maps of a layer over time.

    Applied to maps and gradients alike, it gives the class activation map of the layer's mean over
    the time steps.

    Args:
        model: The model whose layers are looked at. The transform reads its number of time steps T
            at every call.

    Returns:
        A function from maps or gradients ``(T*B, C, h, w)`` to ``(B, C, h, w)``. It raises a
        ``ValueError`` if the first size is not a multiple of T.

    Raises:
        ValueError: The model has no spiking module, or its modules differ in T.

    Example:
        >>> import torch
        >>> from mmspike.backbones import SDT
        >>> model = SDT(dict(embed_dims=8, depth=1), timesteps=2)
        >>> transform = cam_reshape_transform(model)
        >>> transform(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)).flatten()
        tensor([2.])
    """
    get_timesteps(model)

    def mean_over_time(x: Tensor) -> Tensor:
        return unfold_time(x, get_timesteps(model)).mean(0)

    return mean_over_time
