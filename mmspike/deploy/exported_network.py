"""The part of a host's model that runs in an exported file."""

from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.utils._pytree import tree_unflatten, treespec_loads

from mmspike.deploy.parts import Features
from mmspike.deploy.runtimes import Session
from mmspike.registry import MODELS


class RuntimePart:
    """A file as a function of tensors.

    Args:
        session: The loaded file.
        outputs: How its outputs are nested, see :class:`~mmspike.deploy.metadata.Metadata`.
        size: The sizes of its input; strings are free ones.
    """

    def __init__(self, session: Session, outputs: str, size: list[int | str]) -> None:
        self.session = session
        self.size = size
        self._spec = treespec_loads(outputs)

    def __call__(self, x: Tensor) -> Any:
        """Run the file.

        Raises:
            ValueError: The input has sizes that the file does not take.
        """
        fits = x.dim() == len(self.size) and all(
            own == wanted or isinstance(wanted, str)
            for own, wanted in zip(x.shape, self.size, strict=True)
        )
        if not fits:
            wanted = ', '.join(map(str, self.size))
            raise ValueError(f'the file takes an input ({wanted}), got {tuple(x.shape)}')
        found = self.session(x.detach().cpu().numpy().astype(np.float32, copy=False))
        return tree_unflatten([torch.from_numpy(out).to(x.device) for out in found], self._spec)


@MODELS.register_module()
class ExportedNetwork(BaseModule):
    """Stands for the backbone, neck and head of a host's model.

    Attributes:
        part: The file's function; None until :func:`mmspike.deploy.load` gives one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.part: RuntimePart | None = None

    def forward(self, inputs: Tensor) -> Features:
        """Prepared images or frames to feature maps, with the head's outputs beside them."""
        if self.part is None:
            raise RuntimeError('the network of an exported file is built by mmspike.deploy.load')
        raw, maps = self.part(inputs)
        features = Features(maps)
        features.raw = raw
        return features
