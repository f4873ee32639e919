"""The 1797 real handwritten digits that come with scikit-learn, as an mmpretrain dataset."""

from typing import Any

from mmpretrain.datasets import BaseDataset

from mmspike.checks import check_integer, check_number
from mmspike.datasets.digits import digits_of_split, share_of_each_class
from mmspike.registry import DATASETS


@DATASETS.register_module()
class HandwrittenDigits(BaseDataset):
    """Handwritten digits, split once and for all, stratified by class.

    A sample holds ``img`` (``(8, 8, 3)``, uint8, the grey level in all three channels) and
    ``gt_label``; the pipeline resizes it.

    Args:
        split: ``'train'`` (80 %, 1437 images) or ``'test'`` (20 %, 360 images).
        share: Share of the images of each class that is kept; 0.1 keeps 142 training images.
        seed: Of the draw of a share.
        **kwargs: See ``mmpretrain.datasets.BaseDataset``.

    Raises:
        TypeError, ValueError: An option is not acceptable; the message names it.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(
        self, split: str = 'train', *, share: float = 1.0, seed: int = 0, **kwargs: Any
    ) -> None:
        if split not in ('train', 'test'):
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split = split
        self.share = check_number('share', share, above=0, at_most=1)
        self.seed = check_integer('seed', seed, at_least=0)
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Cut the split out of the whole set, and the share out of the split."""
        images, labels = digits_of_split(self.split)
        return [
            dict(img=images[i][..., None].repeat(3, axis=-1), gt_label=int(labels[i]))
            for i in share_of_each_class(labels, self.share, self.seed)
        ]
