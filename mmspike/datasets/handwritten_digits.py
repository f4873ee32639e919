"""The 1797 real handwritten digits that come with scikit-learn, as an mmpretrain dataset.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998 (the test part, 8x8 grey levels 0..16).
"""

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

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
        images, labels = load_digits(return_X_y=True)
        chosen = dict(
            zip(
                ('train', 'test'),
                train_test_split(
                    np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
                ),
                strict=True,
            )
        )[self.split]
        images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        return [
            dict(img=images[i].repeat(3, axis=-1), gt_label=int(labels[i])) for i in sorted(chosen)
        ]
