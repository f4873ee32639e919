"""What detectors and segmentors have in common on their reference cases."""

from collections.abc import Callable

from torch import Tensor, nn

from mmspike.converters import convert_dense
from mmspike.converters.pyramid import read_pyramid_of
from support.reference_cases import Case
from support.reference_model import ReferenceModel


class DenseModel(ReferenceModel):
    """Backbone and neck of a detector or segmentor."""

    backbone: nn.Module
    neck: nn.Module

    def load_dense(self, case: Case) -> None:
        """Take all weights, through the converter, and the mode of the case."""
        self.load(convert_dense(case.weights(), self), case)

    def pyramid(self, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The neck's levels, and the outputs so far."""
        feats = self.backbone(x)
        levels = self.neck(feats)
        named = {f'backbone_{i}': feat for i, feat in enumerate(feats)}
        named.update({f'neck_{i}': level for i, level in enumerate(levels)})
        return levels, named


def arch_of(case: Case, rename_key: Callable[[str], str | None]) -> dict:
    """The architecture of a case's backbone, from the shapes of its weights, and its heads."""
    tensors = {
        rename_key(key.removeprefix('backbone.')): value
        for key, value in case.weights().items()
        if key.startswith('backbone.')
    }
    num_heads = case.meta['constructor']['backbone']['num_heads']
    return dict(read_pyramid_of(tensors, stages=5), num_heads=num_heads)
