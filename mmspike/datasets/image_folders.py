"""Images in one folder per class."""

from mmengine.fileio import isdir, list_dir_or_file
from mmpretrain.datasets import CustomDataset

from mmspike.datasets.own_data import in_words, where
from mmspike.registry import DATASETS


@DATASETS.register_module()
class ImageFolders(CustomDataset):
    """``mmpretrain.CustomDataset`` that refuses folders it cannot use.

    mmpretrain numbers the classes in the alphabetical order of their folders. Without
    ``metainfo=dict(classes=...)`` the folders that are there are the classes: a class whose folder
    is missing in one split would move the labels of all classes behind it.

    Args:
        **kwargs: See ``mmpretrain.CustomDataset``.

    Raises:
        FileNotFoundError: The folder is not there.
        ValueError: It has no class folders, others than the classes, or empty ones.
    """

    def load_data_list(self) -> list[dict]:
        """Find the images."""
        if self.with_label and not self.ann_file:
            self._check_folders()
        return super().load_data_list()

    def _check_folders(self) -> None:
        root = self.img_prefix or self.data_root
        if not isdir(root):
            raise FileNotFoundError(f'there is no folder {root} ({where(self, "data_prefix")})')
        folders = sorted(name for name in list_dir_or_file(root, list_file=False))
        if not folders:
            raise ValueError(f'{root} has no folders; it must have one per class, with its images')
        classes = list(self.CLASSES) if self.CLASSES is not None else folders
        if classes != folders:
            missing = [name for name in classes if name not in folders]
            added = [name for name in folders if name not in classes]
            difference = (
                f'missing are {in_words(missing)}, no class are {in_words(added)}'
                if missing or added
                else 'the order differs'
            )
            raise ValueError(
                f"the folders of {root} are not the config's classes in alphabetical order: "
                f'{difference}. The folders are {in_words(folders)}, the classes '
                f'{in_words(classes)}'
            )
        empty = [
            name
            for name in folders
            if not any(
                self.is_valid_file(file)
                for file in list_dir_or_file(f'{root}/{name}', list_dir=False, recursive=True)
            )
        ]
        if empty:
            raise ValueError(
                f'{root} has no images of {in_words(empty)}; the suffixes of images are '
                f'{", ".join(sorted(self.extensions))}'
            )
