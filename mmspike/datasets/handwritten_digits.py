"""The 1797 real handwritten digits that come with scikit-learn, as an mmpretrain dataset."""

from typing import Any

from mmpretrain.datasets import BaseDataset

from mmspike.datasets.digits import digits_of_split
from mmspike.registry import DATASETS


@DATASETS.register_module()
class HandwrittenDigits(BaseDataset):
    """Handwritten digits, split once and for all, stratified by class.

    A sample holds ``img`` (``(8, 8, 3)``, uint8, the grey level in all three channels) and
    ``gt_label``; the pipeline resizes it.

    Args:
        split: ``'train'`` (80 %, 1437 images) or ``'test'`` (20 %, 360 images).
        **kwargs: See ``mmpretrain.datasets.BaseDataset``.

    Raises:
        ValueError: ``split`` is neither.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        if split not in ('train', 'test'):
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split = split
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Cut the split out of the whole set."""
        return [
            dict(img=image[..., None].repeat(3, axis=-1), gt_label=int(label))
            for image, label in zip(*digits_of_split(self.split), strict=True)
        ]
