"""Reconstructions as pictures."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmspike.selfsup.smae import SMAE
from mmspike.visualization.reconstruction_plots import reconstruction_figure


def to_pixels(images: Tensor, preprocessor: nn.Module) -> np.ndarray:
    """Images as a data preprocessor of mmengine took them in.

    Args:
        images: ``(B, 3, H, W)``, normalised.
        preprocessor: The preprocessor that normalised them.

    Returns:
        ``(B, H, W, 3)``, uint8, RGB.
    """
    settings: Any = preprocessor
    if hasattr(settings, 'mean'):
        images = images * settings.std + settings.mean
    pixels = images.detach().round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    # Pipelines read BGR.
    is_rgb = getattr(settings, '_channel_conversion', False)
    return pixels if is_rgb else np.ascontiguousarray(pixels[..., ::-1])


def picture(model: SMAE, images: Tensor, noise: Tensor | None = None) -> Figure:
    """Reconstruct images, and draw them beside what the model saw.

    Args:
        model: The model, in evaluation mode.
        images: ``(B, 3, H, W)``, normalised.
        noise: ``(B, L)``, which patches are masked; None draws it.
    """
    found = model.reconstruct(images, noise)
    original, masked, predicted = (
        to_pixels(part, model.data_preprocessor)
        for part in (found.original, found.masked, found.predicted)
    )
    share = 100 * model.backbone.mask_ratio
    title = f'{share:.0f} % masked, loss {found.loss.item():.3f}'
    return reconstruction_figure(original, masked, predicted, title)


def rendered(figure: Figure) -> np.ndarray:
    """The pixels of a figure: ``(H, W, 3)``, uint8, RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
