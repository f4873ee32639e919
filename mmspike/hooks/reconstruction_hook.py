"""Pictures of reconstructions during masked pre-training."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmspike.checks import check_integer
from mmspike.modules import unwrapped
from mmspike.registry import HOOKS


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Draw what a masked autoencoder makes of the same images, epoch after epoch.

    The images are the first ones of training, with the same masks in every picture. Pictures go to
    the runner's visualizer as ``reconstruction``: its usual backend writes
    ``vis_data/vis_image/reconstruction_<epoch>.png`` into the folder of the run. The training
    itself is not changed.

    Args:
        interval: Draw after every so many epochs, and after the last one.
        num_images: How many images; a batch may hold fewer.
        seed: Of the masks.

    Raises:
        TypeError, ValueError: An option is no positive integer (``seed`` may be 0).
    """

    def __init__(self, *, interval: int = 10, num_images: int = 6, seed: int = 0) -> None:
        self.interval = check_integer('interval', interval, at_least=1)
        self.num_images = check_integer('num_images', num_images, at_least=1)
        self.seed = check_integer('seed', seed, at_least=0)
        self._images: Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        """Check the model.

        Raises:
            TypeError: It is no masked autoencoder.
        """
        model = unwrapped(runner.model)
        if not hasattr(model, 'reconstruct'):
            raise TypeError(
                'ReconstructionHook draws what mmspike.SMAE reconstructs; the model is a '
                f'{type(model).__name__}'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the first images."""
        if self._images is None:
            self._images = data_batch['inputs'][: self.num_images]

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw, if it is time to."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        # Imported here: the pictures need mmpretrain, and this package does not.
        from mmspike.selfsup.pictures import picture, rendered

        model: Any = unwrapped(runner.model)
        was_training = model.training
        model.eval()
        with torch.no_grad():
            images = model.data_preprocessor(dict(inputs=self._images, data_samples=[]))['inputs']
            rows, columns = model.backbone.grid_of(images)
            generator = torch.Generator().manual_seed(self.seed)
            noise = torch.rand(len(images), rows * columns, generator=generator)
            figure = picture(model, images, noise.to(images.device))
        model.train(was_training)
        runner.visualizer.add_image('reconstruction', rendered(figure), step=runner.epoch + 1)
