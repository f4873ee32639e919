"""Grey images that are their own label."""

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from mmspike.registry import DATASETS


@DATASETS.register_module()
class ToyDigits(BaseDataset):
    """Ten images ``(8, 8, 3)``, uint8: image i has the grey level 20 i and the label i.

    Args:
        **kwargs: See ``mmpretrain.datasets.BaseDataset``.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Make the images."""
        return [dict(img=np.full((8, 8, 3), 20 * i, np.uint8), gt_label=i) for i in range(10)]
