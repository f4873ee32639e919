"""Images and label maps in folders, as ADE20K has them, of any classes."""

from typing import Any

from mmengine.fileio import exists, isdir, list_dir_or_file
from mmseg.datasets import BaseSegDataset

from mmspike.datasets.own_data import in_words, where
from mmspike.registry import DATASETS


@DATASETS.register_module()
class SegDataset(BaseSegDataset):
    """``mmseg.BaseSegDataset`` for one's own classes, which refuses folders it cannot use.

    mmseg's own tools ask a dataset's class for its classes (``METAINFO``); an object of this class
    answers with those of its ``metainfo``.

    Args:
        metainfo: ``dict(classes=(...), palette=[...])``; the palette may be left out.
        **kwargs: See ``mmseg.BaseSegDataset``.

    Raises:
        FileNotFoundError: A folder, the list of names, or the first label map is not there.
        ValueError: There are no classes, or no images with the suffix.
    """

    def __init__(self, *, metainfo: dict | None = None, **kwargs: Any) -> None:
        if not (metainfo or {}).get('classes'):
            raise ValueError(
                f'{type(self).__name__} needs metainfo=dict(classes=(...)), the names of the '
                f'classes in the order of their numbers; got metainfo={metainfo!r}'
            )
        super().__init__(metainfo=metainfo, **kwargs)
        self.METAINFO = {key: self.metainfo[key] for key in ('classes', 'palette')}

    def load_data_list(self) -> list[dict]:
        """List the images and their label maps."""
        options = dict(backend_args=self.backend_args)
        for key in ('img_path', 'seg_map_path'):
            folder = self.data_prefix.get(key)
            if folder and not isdir(folder, **options):
                raise FileNotFoundError(
                    f'there is no folder {folder} ({where(self, f"data_prefix[{key!r}]")})'
                )
        if self.ann_file and not exists(self.ann_file, **options):
            raise FileNotFoundError(
                f'there is no list of names {self.ann_file} ({where(self, "ann_file")})'
            )
        samples = super().load_data_list()
        folder = self.data_prefix['img_path']
        if not samples:
            found = sorted(list_dir_or_file(folder, list_dir=False, **options))[:3]
            raise ValueError(
                f'no image is left: {self.ann_file or folder} has none with '
                f'img_suffix={self.img_suffix!r}; it holds {in_words(found)}'
            )
        for key in ('img_path', 'seg_map_path'):
            first = samples[0].get(key)
            if first and not exists(first, **options):
                raise FileNotFoundError(
                    f'there is no {first}, of the first of {len(samples)} images; '
                    f'img_suffix={self.img_suffix!r}, seg_map_suffix={self.seg_map_suffix!r}'
                )
        return samples
