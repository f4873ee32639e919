"""Pictures of what a masked autoencoder fills in."""

import numpy as np
from matplotlib.figure import Figure

ROWS = ('original', 'masked', 'reconstructed')


def reconstruction_figure(
    original: np.ndarray, masked: np.ndarray, reconstructed: np.ndarray, title: str
) -> Figure:
    """A column per image; below each other the image, what is visible of it, and what it became.

    Args:
        original: Images ``(B, H, W, 3)``, uint8, RGB.
        masked: The same with masked patches.
        reconstructed: The same with predictions in masked patches.
        title: Title of the figure.
    """
    count, height, width = original.shape[:3]
    side = 1.6  # inches
    size = (0.5 + side * count * max(width / height, 0.5), 0.5 + side * len(ROWS))
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(title)
    axes = figure.subplots(len(ROWS), count, squeeze=False)
    for row, (name, images) in enumerate(zip(ROWS, (original, masked, reconstructed), strict=True)):
        for column, image in enumerate(images):
            axis = axes[row, column]
            axis.imshow(image, interpolation='nearest')
            axis.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(name)
    return figure
