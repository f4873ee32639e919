"""mmdet's CocoDataset with checks of own data."""

from mmdet.datasets import CocoDataset as HostCocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.fileio import exists

from mmspike.datasets.own_data import in_words, where
from mmspike.registry import DATASETS


@DATASETS.register_module()
class CocoDataset(HostCocoDataset):
    """``mmdet.CocoDataset`` that refuses data if few or no samples would remain.

    mmdet numbers classes in the order of the file's categories, and leaves out annotations of other
    categories. A class that the file does not have, or another order, would move the labels of all
    classes behind it.

    Args:
        **kwargs: See ``mmdet.CocoDataset``.

    Raises:
        FileNotFoundError: The annotation file, or the image that it lists first, is not there.
        ValueError: The classes are not categories of the file in its order, or no image is left.
    """

    def COCOAPI(self, path: str) -> COCO:  # noqa: N802
        """Read the annotation file and compare its categories with the classes."""
        coco = COCO(path)
        names = [category['name'] for category in coco.load_cats(coco.get_cat_ids())]
        classes = list(self.metainfo['classes'])
        known = [name for name in names if name in classes]
        if known != classes:
            missing = [name for name in classes if name not in names]
            if len(missing) == len(classes):
                what = f'no image of {self.ann_file} is left: none of its categories is a class'
            elif missing:
                what = f'{self.ann_file} has no category {in_words(missing)}'
            else:
                what = f'the classes are not in the order of the categories of {self.ann_file}'
            raise ValueError(
                f"{what}; its categories are {in_words(names)}, the config's classes are "
                f'{in_words(classes)}. Set metainfo=dict(classes=...) of all datasets'
            )
        return coco

    def load_data_list(self) -> list[dict]:
        """Read the annotations; see that file and images are there."""
        if not exists(self.ann_file, backend_args=self.backend_args):
            raise FileNotFoundError(
                f'there is no annotation file {self.ann_file} ({where(self, "ann_file")})'
            )
        samples = super().load_data_list()
        if not samples:
            raise ValueError(f'{self.ann_file} lists no image')
        first = samples[0]['img_path']
        if not exists(first, backend_args=self.backend_args):
            raise FileNotFoundError(
                f'{self.ann_file} lists the image {first}, which is not there '
                f'({where(self, "data_prefix")})'
            )
        return samples

    def filter_data(self) -> list[dict]:
        """Filter the samples by ``filter_cfg``."""
        kept = super().filter_data()
        if not kept:
            annotated = sum(bool(sample['instances']) for sample in self.data_list)
            raise ValueError(
                f'no image of {self.ann_file} is left: filter_cfg={self.filter_cfg}, and of its '
                f'{len(self.data_list)} images {annotated} have annotations of the classes '
                f'{in_words(self.metainfo["classes"])}'
            )
        return kept
