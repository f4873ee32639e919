"""What of a host's model is a network: from prepared images to the raw outputs of heads.

Before and after that stand the data preprocessor, anchors, boxes and their suppression, resizing of
label maps, test-time settings. A detector of two stages has more than one part, since regions are
cut out in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

# The head that takes what ``extract_feat`` returns, by host's model; the first that is there.
HEADS = ('head', 'decode_head', 'bbox_head', 'rpn_head')
REGION_HEADS = ('bbox_head', 'mask_head')
NETWORK = 'network'  # the first part's name


class Outputs(nn.Module):
    """A part of a model whose outputs are a flat tuple of tensors, as a file has them.

    Attributes:
        spec: How they were nested, after the first call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spec: Any = None

    def flat(self, outputs: Any) -> tuple[Tensor, ...]:
        """The tensors in nested outputs."""
        leaves, self.spec = tree_flatten(outputs)
        return tuple(leaves)


class Network(Outputs):
    """From prepared images to what the head puts out before the host's own post-processing.

    Args:
        model: A classifier of mmpretrain, a detector of mmdet or a segmentor of mmseg.

    Raises:
        ValueError: It has no head that takes whole feature maps.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.head = head_name(model)
        self.keeps_features = hasattr(model, 'roi_head')

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, C, H, W)`` or frames ``(B, T, C, H, W)`` to raw outputs.

        Of a detector of two stages, the feature maps come after them: regions are cut out of these.
        """
        features = self.model.extract_feat(inputs)
        raw = self.model.get_submodule(self.head)(features)
        return self.flat((raw, tuple(features) if self.keeps_features else ()))


class RegionHead(Outputs):
    """One head that works on regions.

    Args:
        head: Of the model's ``roi_head``.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, regions: Tensor) -> tuple[Tensor, ...]:
        """Cut-out features ``(T*n, C, h, w)`` to raw outputs."""
        return self.flat(self.head(regions))


def head_name(model: nn.Module) -> str:
    """The name of the head that takes whole feature maps.

    Raises:
        ValueError: There is none.
    """
    if hasattr(model, 'extract_feat'):
        for name in HEADS:
            head = getattr(model, name, None)
            if isinstance(head, nn.Module) and not isinstance(head, nn.ModuleList):
                return name
    raise ValueError(
        f'{type(model).__name__} has none of the heads ({", ".join(HEADS)}) whose raw outputs '
        'could be taken'
    )


@dataclass
class Part:
    """One part of a model.

    Attributes:
        name: ``'network'``, or the name of a head that works on regions.
        module: What it computes.
        sample: An input of it.
    """

    name: str
    module: Outputs
    sample: Tensor


def parts_of(model: nn.Module, images: Tensor) -> Iterator[Part]:
    """The parts of a model.

    Args:
        model: See :class:`Network`.
        images: A batch of two.
    """
    yield Part(NETWORK, Network(model), images)
    roi_head: Any = getattr(model, 'roi_head', None)
    for name in region_heads(model):
        kind = name.split('.')[1].removesuffix('_head')
        extractor = getattr(roi_head, f'{kind}_roi_extractor')
        if isinstance(extractor, nn.ModuleList):
            extractor = extractor[0]
        steps = getattr(extractor, 'timesteps', 1)
        extractor = getattr(extractor, 'extractor', extractor)
        size = extractor.roi_layers[0].output_size
        regions = torch.zeros(steps * 3, extractor.out_channels, *size)
        yield Part(name, RegionHead(model.get_submodule(name)), regions)


def region_heads(model: nn.Module) -> list[str]:
    """Names of the heads that work on regions, in the model."""
    found = []
    for kind in REGION_HEADS:
        head = getattr(getattr(model, 'roi_head', None), kind, None)
        if isinstance(head, nn.ModuleList):
            found += [f'roi_head.{kind}.{i}' for i in range(len(head))]
        elif head is not None:
            found.append(f'roi_head.{kind}')
    return found
