"""Reconstructions as pictures."""

import io
from typing import Any

import cv2
import numpy as np
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
    parts = (
        to_pixels(part, model.data_preprocessor)
        for part in (found.original, found.masked, found.predicted)
    )
    share = f'{100 * model.backbone.mask_ratio:.0f} % masked'
    return reconstruction_figure(*parts, title=f'{share}, loss {found.loss.item():.3f}')


def rendered(figure: Figure) -> np.ndarray:
    """The pixels of a figure: ``(H, W, 3)``, uint8, RGB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100)
    encoded = np.frombuffer(buffer.getvalue(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
