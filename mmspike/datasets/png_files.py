"""Images as PNG files that are whole or not there."""

from pathlib import Path

import cv2
import numpy as np

from mmspike.files import atomic_write


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write an image, in the place of one that is there.

    Args:
        path: File to be written.
        pixels: ``(H, W)`` or, in the order BGR, ``(H, W, 3)``, uint8.
    """
    with atomic_write(path) as file:
        file.write(cv2.imencode('.png', pixels)[1].tobytes())
